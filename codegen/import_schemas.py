"""Turns the message schemas inside Kafka's jars into our own notation. Run once per Kafka version, never at build.

    python codegen/import_schemas.py FOLDER_OF_JARS

Only facts are taken: names, types, versions, tags, nullability, defaults. codegen/notation.py says how they are written.
"""

import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

DEFINITIONS = Path(__file__).parent / "definitions"
JARS = (
    "clients",
    "group-coordinator",
    "metadata",
    "share-coordinator",
    "storage",
    "transaction-coordinator",
    "raft",
)


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def schemas(jars: Path) -> list[dict[str, Any]]:
    found = []
    for name in JARS:
        (jar,) = jars.glob(f"kafka-{name}-[0-9]*.jar")
        with zipfile.ZipFile(jar) as content:
            for entry in content.namelist():
                if re.search(r"(common/message|common/metadata|^message|/message)/[A-Za-z]+\.json$", entry):
                    text = re.sub(r"^\s*//.*$", "", content.read(entry).decode(), flags=re.M)
                    text = re.sub(r"(?<=[,{\[\]}])\s*//[^\n\"]*$", "", text, flags=re.M)
                    found.append(json.loads(text))
    return found


def field_lines(fields: list[dict[str, Any]], depth: int) -> list[str]:
    lines = []
    for field in fields:
        words = [
            "  " * depth + snake(field["name"]),
            field["type"],
            field.get("versions") or field["taggedVersions"],
        ]
        if "nullableVersions" in field:
            words += ["null", field["nullableVersions"]]
        if "tag" in field:
            words += ["tag", str(field["tag"]), field["taggedVersions"]]
        if "flexibleVersions" in field:
            words += ["flexible", field["flexibleVersions"]]
        if field.get("ignorable"):
            words.append("ignorable")
        if "default" in field:
            words += ["=", json.dumps(field["default"]) if field["default"] == "" else str(field["default"])]
        lines.append(" ".join(words))
        lines += field_lines(field.get("fields", []), depth + 1)
    return lines


def message_lines(schema: dict[str, Any]) -> list[str]:
    head = f"{schema['type']} {schema['name']} {schema['validVersions']} flexible {schema.get('flexibleVersions', 'none')}"
    if "apiKey" in schema and schema["type"] not in ("request", "response"):
        head += f" key {schema['apiKey']}"
    lines = [head, *field_lines(schema["fields"], 1)]
    for struct in schema.get("commonStructs", []):
        lines += [f"struct {struct['name']} {struct['versions']}", *field_lines(struct["fields"], 1)]
    return lines


def main(jars: Path) -> None:
    apis: dict[int, dict[str, dict[str, Any]]] = {}
    for schema in schemas(jars):
        kind = schema["type"]
        if schema["validVersions"] == "none":
            continue
        if kind in ("request", "response"):
            apis.setdefault(schema["apiKey"], {})[kind] = schema
        else:
            path = DEFINITIONS / "internal" / f"{snake(schema['name'])}.txt"
            path.write_text("\n".join(message_lines(schema)) + "\n")
    for key, pair in sorted(apis.items()):
        name = pair["request"]["name"].removesuffix("Request")
        unstable = " unstable" if pair["request"].get("latestVersionUnstable") else ""
        lines = [
            f"api {key} {name}{unstable}",
            *message_lines(pair["request"]),
            *message_lines(pair["response"]),
        ]
        (DEFINITIONS / f"{snake(name)}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
