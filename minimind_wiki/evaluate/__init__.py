"""How good a model is: exams whose right answers are known."""
