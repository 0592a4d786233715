"""Whether Python reads request bodies as Junheng says it does.

Records on stdin: a line "LENGTH API MODEL_HEX STREAM MAX_OUTPUT KEY IDS IMAGES MESSAGES CHARACTERS",
then LENGTH bytes of body. Prints the number of records, or the first that differs.
"""

import json
import sys

TOP = {
    "chat": {"model", "messages", "stream", "max_tokens", "max_completion_tokens", "tools", "functions", "response_format", "stream_options", "n"},
    "completions": {"model", "prompt", "suffix", "stream", "max_tokens", "stream_options", "n", "best_of"},
    "embeddings": {"model", "input"},
    "responses": {"model", "input", "instructions", "stream", "max_output_tokens", "tools", "text"},
    "messages": {"model", "messages", "system", "stream", "max_tokens", "tools"},
}
TOP_RAW = {
    "chat": ("tools", "functions", "response_format"),
    "completions": (),
    "embeddings": (),
    "responses": ("tools", "text"),
    "messages": ("tools",),
}
PART = {"content", "text", "type", "name", "refusal", "thinking", "arguments", "tool_calls", "function_call", "input", "output", "source"}
PART_RAW = ("tool_calls", "function_call", "input", "output")
IMAGES = ("image_url", "input_image", "image")
MASK = (1 << 64) - 1
ODD = 0x9E3779B97F4A7C15


class Twice(dict):
    """An object with a name given twice."""


def pairs(items):
    object = dict(items)
    if len(object) == len(items):
        return object
    object = Twice(object)
    names = [name for name, _ in items]
    object.twice = {name for name in object if names.count(name) > 1}
    return object


def number(text):
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("out of range")
    return value


def constant(text):
    raise ValueError(text)


decode = json.JSONDecoder(object_pairs_hook=pairs, parse_float=number, parse_constant=constant).decode


def once(object, names):
    if type(object) is Twice and object.twice & names:
        raise ValueError(f"twice: {object.twice & names}")


class Reading:
    def __init__(self):
        self.instructions, self.text, self.other = [], [], 0
        self.ids = self.images = self.messages = 0
        self.raw = False

    def content(self, value, into):
        if isinstance(value, str):
            into.append(value.encode())
            self.other += len(value)
        elif isinstance(value, list):
            for item in value:
                self.content(item, into) if isinstance(item, str) else self.part(item, into)
        elif value is not None:
            raise TypeError(value)

    def part(self, part, into):
        once(part, PART)
        # In the order of the body, as the text of a part and its content may both be there.
        for name, value in part.items():
            if name == "content":
                self.content(value, into)
            elif name == "text" and value is not None:
                into.append(value.encode())
                self.other += len(value)
            elif name in ("name", "refusal", "thinking", "arguments") and value is not None:
                self.other += len(value)
            elif name in PART_RAW and value is not None:
                self.raw = True
            elif name == "type":
                self.images += value in IMAGES
            elif name == "source" and isinstance(value, dict):
                once(value, {"type", "data"})
                if value.get("type") == "text":
                    self.other += len(value.get("data", ""))

    def prompt(self, value):
        for item in [value] if isinstance(value, str) else value or []:
            if isinstance(item, str):
                self.content(item, self.text)
            else:
                for token in item if isinstance(item, list) else [item]:
                    self.ids += 1
                    self.text.append(token.to_bytes(4, "little"))

    def items(self, value):
        if isinstance(value, str):
            self.messages += 1
            self.content(value, self.text)
            return
        for item in value or []:
            self.messages += 1
            self.part(item, self.text)


def key(data):
    hash = len(data) * ODD & MASK
    whole = len(data) & ~7
    for at in range(0, whole + 1, 8):
        hash = (hash ^ int.from_bytes(data[at : at + 8], "little")) * ODD & MASK
        hash ^= hash >> 29
    hash = (hash ^ (hash >> 33)) * 0xFF51AFD7ED558CCD & MASK
    hash = (hash ^ (hash >> 33)) * 0xC4CEB9FE1A85EC53 & MASK
    return hash ^ (hash >> 33)


def reading(api, body):
    top = decode(body.decode("utf-8"))
    if not isinstance(top, dict):
        raise TypeError("not an object")
    once(top, TOP[api])
    read = Reading()
    for name in ("system", "instructions"):
        value = top.get(name) if name in TOP[api] else None
        if value is not None:
            read.messages += 1
            read.content(value, read.instructions)
    if api in ("completions", "embeddings"):
        read.prompt(top.get("prompt" if api == "completions" else "input"))
        if api == "completions":
            read.other += len(top.get("suffix") or "")
    else:
        read.items(top.get("input" if api == "responses" else "messages"))
    read.raw |= any(top.get(name) is not None for name in TOP_RAW[api])
    bounds = {"chat": ("max_tokens", "max_completion_tokens"), "responses": ("max_output_tokens",), "embeddings": ()}
    bounds = [top[name] for name in bounds.get(api, ("max_tokens",)) if top.get(name) is not None]
    if any(type(bound) is not int for bound in bounds):
        raise ValueError(f"bounds: {bounds}")
    if len(set(bounds)) > 1:
        raise ValueError(f"bounds: {bounds}")
    # 0 bounds nothing.
    bounds = [bound for bound in bounds if bound]
    counts = [top[name] for name in ("n", "best_of") if name in TOP[api] and top.get(name) is not None]
    if any(type(count) is not int for count in counts):
        raise ValueError(f"counts: {counts}")
    stream = bool(top.get("stream")) if api != "embeddings" else False
    prefix = key(b"".join(read.instructions + read.text)[:1024])
    return [top["model"].encode().hex(), stream, bounds[0] if bounds else None, prefix, read.ids, read.images, read.messages, None if read.raw else read.other]


def main():
    source, count = sys.stdin.buffer, 0
    while line := source.readline():
        length, api, model, stream, bound, prefix, ids, images, messages, characters = line.decode().split()
        body = source.read(int(length))
        ours = [model, stream == "1", None if bound == "-" else int(bound), int(prefix), int(ids), int(images), int(messages), int(characters)]
        try:
            theirs = reading(api, body)
        except Exception as error:
            sys.exit(f"{api}: Python refuses {body!r}: {error!r}")
        if theirs[-1] is None:
            ours[-1] = None
        if ours != theirs:
            sys.exit(f"{api}: {body!r}\nis to Junheng {ours}\nand to Python {theirs}")
        count += 1
    print(count)


main()
