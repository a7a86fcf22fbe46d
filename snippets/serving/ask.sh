curl --no-buffer http://127.0.0.1:8000/v1/completions \
    --header 'Content-Type: application/json' \
    --data '{"model": "world-tiny", "prompt": "One stormy morning in May,",
             "temperature": 0, "max_tokens": 3, "stream": true}'
