"""Talks to a gateway with the real OpenAI client and prints what it saw as one JSON object."""

import json
import sys

from openai import OpenAI

client = OpenAI(base_url=sys.argv[1] + "/v1", api_key="unused", max_retries=0, timeout=60)
prompt = [{"role": "user", "content": "Name three rivers."}]

chat = client.chat.completions.with_raw_response.create(model="qwen2.5-7b", messages=prompt, max_tokens=8)
answer = chat.parse()

stream = client.chat.completions.with_raw_response.create(
    model="qwen2.5-7b", messages=prompt, max_tokens=8, stream=True, stream_options={"include_usage": True}
)
chunks = list(stream.parse())

embedding = client.embeddings.with_raw_response.create(model="bge-m3", input=["a river", "a mountain"])
vectors = embedding.parse().data

long_prompt = [{"role": "user", "content": "The river rose again that night. " * 9000}]
long = client.chat.completions.with_raw_response.create(model="qwen2.5-7b", messages=long_prompt, max_tokens=8)

try:
    client.chat.completions.create(model="no-such-model", messages=prompt)
    refusal = None
except Exception as error:
    refusal = {"type": type(error).__name__, "status": getattr(error, "status_code", 0), "code": getattr(error, "code", None)}

print(
    json.dumps(
        {
            "chat": {"by": chat.headers["x-served-by"], "text": answer.choices[0].message.content, "used": answer.usage.completion_tokens},
            "stream": {
                "by": stream.headers["x-served-by"],
                "chunks": sum(1 for chunk in chunks if chunk.choices and chunk.choices[0].delta.content),
                "used": next(chunk.usage.completion_tokens for chunk in chunks if chunk.usage),
            },
            "embedding": {"by": embedding.headers["x-served-by"], "vectors": len(vectors), "floats": len(vectors[0].embedding)},
            "long": {"by": long.headers["x-served-by"]},
            "refusal": refusal,
        }
    )
)
