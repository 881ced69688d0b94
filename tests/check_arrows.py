#!/usr/bin/env python3
"""Checks that the folders only know whom they may: actors -> transport -> gpu -> messages, and within transport/ those before
them; only actors/ knows CAF, only transport/ucx knows UCX, only the sources of gpu/ know CUDA, and includes are root-relative."""
import pathlib
import re
import sys

ORDER = ["messages", "gpu", "transport", "actors"]
FLOORS = ["base", "plan", "pool", "seam", "session", "lease", "peer", "mapped", "ucx"]
PLAIN_ACTORS = {"options", "receive_protocol", "request", "request_checks", "router", "send_protocol", "session",
                "supervisor", "tombstones"}
root = pathlib.Path(sys.argv[1])
problems = []


def floor(path):
    """Of a file of transport/; what lies in no folder stands on all floors."""
    parts = pathlib.PurePath(path).parts
    return FLOORS.index(parts[1]) if len(parts) > 2 else len(FLOORS)


for rank, folder in enumerate(ORDER):
    sources = [path for path in (root / folder).rglob("*") if path.suffix in (".hpp", ".cpp", ".cu", ".cuh")]
    for path in sorted(sources):
        name = path.relative_to(root)
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)', line)
            if not found:
                continue
            quote, target = found.groups()
            top = target.split("/")[0]
            where = f"{name}:{number}: includes {target}"
            if quote == '"' and top not in ORDER:
                problems.append(f"{where}: not relative to the root")
            if quote == '"' and top in ORDER and ORDER.index(top) > rank:
                problems.append(f"{where}: against the arrow")
            if top == folder == "transport" and floor(target) > floor(name):
                problems.append(f"{where}: against the arrow")
            if top == "caf" and (folder != "actors" or path.stem in PLAIN_ACTORS):
                problems.append(f"{where}: only the shells in actors/ know CAF")
            if top in ("ucp", "ucs", "uct") and path.parent != root / "transport" / "ucx":
                problems.append(f"{where}: only transport/ucx knows UCX")
            private = path.suffix != ".hpp" or path.parent.name == "cuda"
            if target.startswith("cuda") and not (folder == "gpu" and private):
                problems.append(f"{where}: only the sources of gpu/ know CUDA")
            if target.startswith("gpu/cuda/") and not (folder == "gpu" and private):
                problems.append(f"{where}: private to gpu/")
            if folder == "actors" and path.suffix == ".hpp" and target.endswith(".pb.h"):
                problems.append(f"{where}: generated code in a public header")
print("\n".join(problems) or "all includes follow the arrow")
sys.exit(1 if problems else 0)
