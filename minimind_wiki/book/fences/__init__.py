"""The fences of the book: quiz, predict, recall, figure, lab, exercise, train, view, playground.

Formatters for `pymdownx.superfences`. Each body is YAML; each gives HTML that is complete without
JavaScript and that the page's scripts upgrade. The exact HTML stands in each module's docstring.
"""

from minimind_wiki.book.fences.exercise import exercise
from minimind_wiki.book.fences.figure import figure
from minimind_wiki.book.fences.lab import lab
from minimind_wiki.book.fences.playground import playground
from minimind_wiki.book.fences.predict import predict, recall
from minimind_wiki.book.fences.quiz import quiz
from minimind_wiki.book.fences.train import train
from minimind_wiki.book.fences.view import view

__all__ = ["exercise", "figure", "lab", "playground", "predict", "quiz", "recall", "train", "view"]
