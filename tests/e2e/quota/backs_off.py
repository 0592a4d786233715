"""The openai client at a limit: it gets 429, waits as it was told, and succeeds, with no code of its own."""

import json
import sys
import time

import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=3)
begun = time.monotonic()
answers = [
    client.chat.completions.with_raw_response.create(
        model="qwen2.5-7b",
        messages=[{"role": "user", "content": "Count."}],
        max_tokens=8,
    )
    for _ in range(3)
]
print(
    json.dumps(
        {
            "seconds": time.monotonic() - begun,
            "retries": [answer.retries_taken for answer in answers],
            "limit": answers[0].headers.get("x-ratelimit-limit-requests"),
            "policy": answers[0].headers.get("ratelimit-policy"),
        }
    )
)
