#!/usr/bin/env python3
"""Checks a dump of baton-handoff against its scenario: check_dump.py SCENARIO.json DIR

Knows the contract only (the scenario and the dump), none of baton's code. Exits 0 if every rank that must be there
is there and every byte is right; otherwise names what is wrong and exits 1.
"""
import json
import os
import struct
import sys

MASK = (1 << 64) - 1
UNTOUCHED = 0xA5
ROLES = {"key": 0, "value": 1, "latent": 2, "conv": 6, "ssm": 7}
STATE = "state"
ELEMENT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "int8": 1}
SHOWN_PROBLEMS = 20

problems = []


def problem(text):
    problems.append(text)


def splitmix64(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def chain(h, *fields):
    for field in fields:
        h = splitmix64(h ^ field)
    return h


rows = {}


def row(prefix, token, dims, size):
    """The bytes of the elements `dims` of one (head, token); ranks that replicate a head share the work."""
    key = (prefix, token, dims)
    if key not in rows:
        h = splitmix64(prefix ^ token)
        low = (1 << (8 * size)) - 1
        code = {1: "B", 2: "H", 4: "I"}[size]
        rows[key] = struct.pack(f"<{len(dims)}{code}", *[splitmix64(h ^ d) & low for d in dims])
    return rows[key]


def expanded_requests(scenario):
    given = scenario["requests"]
    if isinstance(given, list):
        return given
    lengths = given["tokens"]
    return [{"id": i + 1, "tokens": lengths[i % len(lengths)]} for i in range(given["count"])]


def model_groups(model):
    state = model.get("state", {"layers": []})["layers"]
    rest = [layer for layer in range(model["layers"]) if layer not in state]
    return model.get("groups") or [{"name": "full", "layers": rest}]


def stages(model, side):
    counts = side.get("pp_layers")
    if not counts:
        even, rest = divmod(model["layers"], side["pp"])
        counts = [even + (stage < rest) for stage in range(side["pp"])]
    first, result = 0, []
    for count in counts:
        result.append(range(first, first + count))
        first += count
    return result


def share(total, side, tp_rank, replicated=True):
    """First and count of what a tp rank holds of `total` heads, or bytes."""
    if side.get("attention_dp"):
        return 0, total
    first = tp_rank * total // side["tp"]
    if replicated and side["tp"] > total:
        return first, 1
    return first, (tp_rank + 1) * total // side["tp"] - first


def expected_shapes(model, side, tp_rank):
    """By (group, layer, role) of the whole model: first head, heads, first element, elements of a row, bytes of each."""
    shapes = {}
    roles = ["latent"] if model.get("attention") == "mla" else ["key", "value"]
    for group in model_groups(model):
        for layer in group["layers"]:
            for role in roles:
                shapes[group["name"], layer, role] = (
                    *share(model["kv_heads"], side, tp_rank), 0, model["head_dim"], ELEMENT_BYTES[model["dtype"]])
    state = model.get("state", {"layers": []})
    for layer in state["layers"]:
        first, count = share(state.get("conv_bytes", 0), side, tp_rank, replicated=False)
        if count:
            shapes[STATE, layer, "conv"] = (0, 1, first, count, 1)
        if state.get("ssm_heads", 0):
            shapes[STATE, layer, "ssm"] = (*share(state["ssm_heads"], side, tp_rank), 0, state["ssm_head_bytes"], 1)
    return shapes


def ranks_that(scenario, *acts):
    """The ranks that something was done to."""
    return {fault["who"] for fault in scenario.get("faults", []) if fault["do"] in acts}


class Rank:
    def __init__(self, scenario, directory, side, number):
        self.scenario, self.model, self.side = scenario, scenario["model"], scenario[side]
        self.side_name, self.name = side, f"{side}-{number}"
        self.tp_rank, self.pp_rank = number % self.side["tp"], number // self.side["tp"]
        with open(os.path.join(directory, self.name + ".json"), encoding="utf-8") as file:
            self.dump = json.load(file)
        self.pools = []
        for pool in self.dump["pools"]:
            with open(os.path.join(directory, pool["file"]), "rb") as file:
                self.pools.append(file.read())
            if len(self.pools[-1]) != pool["slot_bytes"] * pool["slots"]:
                problem(f"{self.name}: {pool['file']} has {len(self.pools[-1])} bytes")
        self.restarted = f"{side}:{number}" in ranks_that(scenario, "restart")
        self.requests = {}
        for entry in self.dump["requests"]:
            self.requests[entry["id"], entry["group"]] = entry

    def check_layout(self):
        """Every layer, role and head that this rank must hold is described, and nothing else."""
        layers = stages(self.model, self.side)[self.pp_rank]
        want = {key: shape for key, shape in expected_shapes(self.model, self.side, self.tp_rank).items()
                if key[1] in layers}
        have = {(b["group"], b["layer"], b["role"]): (
            b["first_head"], b["head_count"], b.get("first_dim", 0), b["head_dim"], b["element_bytes"])
            for b in self.dump["buffers"]}
        if want != have or len(self.dump["buffers"]) != len(have):
            problem(f"{self.name}: describes {sorted(have.items())}, not {sorted(want.items())}")
        size = sum(heads * dims * element * (1 if key[0] == STATE else self.side["tokens_per_block"])
                   for key, (_, heads, _, dims, element) in want.items())
        if sum(map(len, self.pools)) != size * self.side["blocks"]:
            problem(f"{self.name}: the buffers do not fill the pools")
        for g in self.dump["groups"]:
            if g["tokens_per_block"] != (0 if g["name"] == STATE else self.side["tokens_per_block"]):
                problem(f"{self.name}: group {g['name']} has {g['tokens_per_block']} tokens per block")

    def takes_part(self, index):
        return not self.side.get("attention_dp") or index % self.side["tp"] == self.tp_rank

    def check_tables(self, requests):
        """Each request that the rank has a part in has a table a group, and no block is given twice."""
        groups = {g["name"]: g for g in self.dump["groups"]}
        want = {(r["id"], name) for i, r in enumerate(requests) if self.takes_part(i) for name in groups}
        have = set(self.requests)
        # A rank that was restarted knows only what it had a part in since then.
        if not (have == want or self.restarted and have < want) or len(self.dump["requests"]) != len(have):
            problem(f"{self.name}: has tables for {len(self.dump['requests'])} of {len(want)}")
        given = {name: set() for name in groups}
        for entry in self.dump["requests"]:
            size = groups[entry["group"]]["tokens_per_block"]
            end = entry["first_block_token"] + size * len(entry["blocks"])
            if size == 0:
                good = entry["first_block_token"] == 0 and len(entry["blocks"]) == 1
            else:
                good = entry["tokens"] <= end < entry["tokens"] + size and entry["first_block_token"] % size == 0
            if not good:
                problem(f"{self.name}: request {entry['id']} has a table of the wrong length")
            blocks = set(entry["blocks"])
            if len(blocks) != len(entry["blocks"]) or blocks & given[entry["group"]]:
                problem(f"{self.name}: request {entry['id']} has blocks that were given before")
            given[entry["group"]] |= blocks

    def check_bytes(self, requests):
        groups = {g["name"]: g for g in self.dump["groups"]}
        for buffer in self.dump["buffers"]:
            group = groups[buffer["group"]]
            entries = [(r, self.requests[r["id"], group["name"]]) for r in requests
                       if (r["id"], group["name"]) in self.requests]
            used = set()
            for request, entry in entries:
                used |= self.check_request(buffer, group, request, entry)
            self.check_untouched(buffer, group, used)

    def check_request(self, buffer, group, request, entry):
        """Checks the elements of one request in one buffer; returns the blocks that it may have written."""
        size, tokens, first = group["tokens_per_block"], entry["tokens"], entry["first_block_token"]
        context = self.side_name == "context"
        cached = 0 if context else request.get("cached_tokens", 0)
        if size == 0:
            wanted = cached < tokens
            if wanted and (context or entry["state"] == "GENERATION_TRANS_COMPLETE"):
                self.check_token(buffer, group, entry, 0)
            return set(entry["blocks"]) if wanted else set()
        window = group["window"]
        in_window = max(tokens - window, 0) if window else 0
        begin = first if context else max(cached, in_window)
        if first > in_window:
            problem(f"{self.name}: request {request['id']} leaves out tokens that it must hold")
        elif context or entry["state"] == "GENERATION_TRANS_COMPLETE":
            for token in range(begin, tokens):
                self.check_token(buffer, group, entry, token)
        if context:
            self.check_tail(buffer, group, entry)
        return {block for i, block in enumerate(entry["blocks"])
                if min(first + (i + 1) * size, tokens) > cached}

    def element_offset(self, buffer, group, entry, head, token):
        place, size = token - entry["first_block_token"], max(group["tokens_per_block"], 1)
        return (buffer["offset"] + entry["blocks"][place // size] * buffer["slot_stride"]
                + (head - buffer["first_head"]) * buffer["head_stride"]
                + place % size * buffer["token_stride"])

    def check_token(self, buffer, group, entry, token):
        pool = self.pools[buffer["pool"]]
        for head in range(buffer["first_head"], buffer["first_head"] + buffer["head_count"]):
            prefix = chain(self.scenario.get("seed", 0), entry["id"], buffer["layer"],
                           ROLES[buffer["role"]], head)
            first = buffer.get("first_dim", 0)
            want = row(prefix, token, range(first, first + buffer["head_dim"]), buffer["element_bytes"])
            at = self.element_offset(buffer, group, entry, head, token)
            if pool[at:at + len(want)] != want:
                problem(f"{self.name}: request {entry['id']} layer {buffer['layer']} "
                        f"{buffer['role']} head {head} token {token} is wrong")

    def check_tail(self, buffer, group, entry):
        """The context side writes nothing past a request's end."""
        pool, size = self.pools[buffer["pool"]], buffer["head_dim"] * buffer["element_bytes"]
        end = entry["first_block_token"] + len(entry["blocks"]) * group["tokens_per_block"]
        for token in range(entry["tokens"], end):
            for head in range(buffer["first_head"], buffer["first_head"] + buffer["head_count"]):
                at = self.element_offset(buffer, group, entry, head, token)
                if pool[at:at + size] != bytes([UNTOUCHED]) * size:
                    problem(f"{self.name}: written past the end of request {entry['id']}")

    def check_untouched(self, buffer, group, used):
        pool = self.pools[buffer["pool"]]
        slots = self.dump["pools"][buffer["pool"]]["slots"]
        size = (buffer["head_count"] * max(group["tokens_per_block"], 1) * buffer["head_dim"]
                * buffer["element_bytes"])
        clean = bytes([UNTOUCHED]) * size
        for slot in range(slots):
            at = buffer["offset"] + slot * buffer["slot_stride"]
            if slot not in used and pool[at:at + size] != clean:
                problem(f"{self.name}: layer {buffer['layer']} {buffer['role']} slot {slot} "
                        f"was touched")


def check_states(rank, requests):
    complete = {"context": "CONTEXT_COMPLETE", "generation": "GENERATION_TRANS_COMPLETE"}
    for request in requests:
        accepted = request.get("expect", {}).get(rank.side_name, [complete[rank.side_name]])
        for (number, _), entry in rank.requests.items():
            if number == request["id"] and entry["state"] not in accepted:
                problem(f"{rank.name}: request {number} ended as {entry['state']}")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        scenario = json.load(file)
    requests = expanded_requests(scenario)
    for side in ("context", "generation"):
        for number in range(scenario[side]["tp"] * scenario[side]["pp"]):
            if not os.path.exists(os.path.join(sys.argv[2], f"{side}-{number}.json")):
                if f"{side}:{number}" not in ranks_that(scenario, "kill", "stop"):
                    problem(f"{side}-{number} is missing")
                continue
            rank = Rank(scenario, sys.argv[2], side, number)
            rank.check_layout()
            rank.check_tables(requests)
            if not problems:
                check_states(rank, requests)
                rank.check_bytes(requests)
    for text in problems[:SHOWN_PROBLEMS]:
        print(text)
    if problems:
        sys.exit(f"{len(problems)} problems")


main()
