#!/usr/bin/env python3
"""Writes the compact schemas of the built-in kinds, one `v1.NN.json.zst` for each version given.

    ./generate.py 1.29.6 1.30.14 1.31.14 1.32.13 1.33.13 1.34.4 1.35.4 1.36.3

Needs `go` (fetches the modules k8s.io/kubernetes and k8s.io/api) and `zstd`. Same versions, same bytes.

A file is one JSON map:
    minor   "1.36"
    source  "k8s.io/kubernetes v1.36.3"
    kinds   [{"group", "version", "kind", "namespaced", "node"}]   `node` is a place in `nodes`
    nodes   the distinct schema nodes; children are places in the same list
A node is "any" | "string" | "bytes" | "time" | "int32" | "int64" | "number" | "boolean" | "quantity" | "int-or-string"
    | {"enum": [text]} | {"map": node} | {"object": {"fields": {name: node}, "required": [name]}}
    | {"list": {"of": node, "keys": [name], "defaults": {name: text}, "set": true, "unique": name}}
`keys` tell items apart (list-map keys, an absent one counts as its default), a `set` holds no value twice, and `unique` is
a further key that no two items may share.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
EXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
# What the document calls a plain string or object although more is allowed or known.
SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "int-or-string",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "any",
    META + "FieldsV1": "any",
    META + "Patch": "any",
    EXTENSIONS + "JSON": "any",
    EXTENSIONS + "JSONSchemaPropsOrBool": "any",
    EXTENSIONS + "JSONSchemaPropsOrStringArray": "any",
}
# A structural schema allows one schema here, never a list of them.
SAME_AS = {EXTENSIONS + "JSONSchemaPropsOrArray": EXTENSIONS + "JSONSchemaProps"}
# Names that the API server wants unique although the document does not say so.
UNIQUE = {("io.k8s.api.core.v1.ServiceSpec", "ports"): "name", ("io.k8s.api.core.v1.Container", "ports"): "name"}
PLAIN = {
    ("string", None): "string",
    ("string", "byte"): "bytes",
    ("string", "date-time"): "time",
    ("integer", "int32"): "int32",
    ("integer", "int64"): "int64",
    ("number", "double"): "number",
    ("boolean", None): "boolean",
}


def module(path, version):
    """Fetches a Go module and returns its folder."""
    done = subprocess.run(["go", "mod", "download", "-json", f"{path}@{version}"], capture_output=True, text=True, check=True)
    return Path(json.loads(done.stdout)["Dir"])


class GoTypes:
    """Closed word lists and defaults of fields, which only the Go sources of k8s.io/api tell."""

    def __init__(self, root):
        self.closed, self.open, self.words, self.fields, self.embedded = set(), set(), {}, {}, {}
        for folder in sorted({path.parent for path in root.rglob("types.go")}):
            package = "io.k8s.api." + ".".join(folder.relative_to(root).parts)
            for path in sorted(folder.glob("*.go")):
                if not path.name.startswith("zz_") and not path.name.endswith(("_test.go", ".pb.go")):
                    self.read(package, path.read_text())

    def read(self, package, text):
        imports = {}
        for alias, path in re.findall(r'^\s+(\w*)\s*"k8s\.io/api/([\w/]+)"', text, re.M):
            imports[alias or path.rsplit("/", 1)[1]] = "io.k8s.api." + path.replace("/", ".")

        def full(name):
            prefix, dot, rest = name.rpartition(".")
            return f"{imports.get(prefix, prefix)}.{rest}" if dot else f"{package}.{name}"

        for comment, name in re.findall(r"((?:^//.*\n)+)type (\w+) string\b", text, re.M):
            if re.search(r"^//\s*\+enum\s*$", comment, re.M):
                self.closed.add(f"{package}.{name}")
        for name, word in re.findall(r'^(?:const|\s+)\s*\w+\s+(\w+)\s*=\s*"([^"]*)"', text, re.M):
            self.words.setdefault(f"{package}.{name}", []).append(word)
        for word_type, word in re.findall(r'^(?:const|\s+)\s*\w+\s*=\s*(\w+)\("([^"]*)"\)', text, re.M):
            self.words.setdefault(f"{package}.{word_type}", []).append(word)
        # A word that is no literal: the list would be incomplete.
        for pair in re.findall(r'^(?:const|\s+)\s*\w+\s+(\w+)\s*=\s*[^"\s]|^(?:const|\s+)\s*\w+\s*=\s*(\w+)\([^"]', text, re.M):
            self.open |= {f"{package}.{name}" for name in pair if name}
        for struct, body in re.findall(r"^type (\w+) struct \{\n(.*?)^\}", text, re.M | re.S):
            owner, default = f"{package}.{struct}", None
            for line in body.splitlines():
                line = line.strip()
                if found := re.match(r'//\s*\+default="([^"]*)"', line):
                    default = found[1]
                elif found := re.match(r'(\w+)\s+((?:\[\]|\*)*)([\w.]+)\s+`.*?json:"(\w+)', line):
                    self.fields[owner, found[4]] = (full(found[3]), "[]" in found[2], default)
                    default = None
                elif found := re.match(r'([\w.]+)\s+`.*?json:",inline', line):
                    self.embedded.setdefault(owner, []).append(full(found[1]))
                elif line and not line.startswith("//"):
                    default = None

    def field(self, owner, name):
        """Returns (type, is a list, default) of a field; fields of embedded structs count."""
        if (owner, name) in self.fields:
            return self.fields[owner, name]
        for inner in self.embedded.get(owner, []):
            if found := self.field(inner, name):
                return found
        return None

    def enum(self, name):
        """Returns the words of a type that is a closed list of words."""
        return sorted(set(self.words.get(name, []))) if name in self.closed - self.open else None


class Nodes:
    """The distinct nodes of one document; a definition keeps one place however often it is referred to."""

    def __init__(self, definitions, go):
        self.definitions, self.go = definitions, go
        self.nodes, self.places, self.named = [], {}, {}

    def place(self, node):
        key = json.dumps(node, sort_keys=True)
        if key not in self.places:
            self.places[key] = len(self.nodes)
            self.nodes.append(node)
        return self.places[key]

    def definition(self, name):
        name = SAME_AS.get(name, name)
        if name in SPECIAL:
            return self.place(SPECIAL[name])
        schema = self.definitions[name]
        if schema["type"] != "object":
            return self.place(PLAIN[schema["type"], schema.get("format")])
        if name not in self.named:
            self.named[name] = len(self.nodes)
            self.nodes.append(None)
            fields = {field: self.field(name, field, inner) for field, inner in sorted(schema.get("properties", {}).items())}
            node = {"fields": fields}
            if schema.get("required"):
                node["required"] = sorted(schema["required"])
            self.nodes[self.named[name]] = {"object": node}
        return self.named[name]

    def field(self, owner, field, schema):
        go = self.go.field(owner, field)
        words = self.go.enum(go[0]) if go else None
        if schema.get("type") == "array":
            return self.place({"list": self.list(owner, field, schema, words)})
        if words and schema.get("type") == "string":
            return self.place({"enum": words})
        return self.plain(schema)

    def list(self, owner, field, schema, words):
        items = schema["items"]
        of = self.place({"enum": words}) if words and items.get("type") == "string" else self.plain(items)
        node = {"of": of}
        keys = schema.get("x-kubernetes-list-map-keys")
        if not keys and "$ref" in items and "x-kubernetes-patch-merge-key" in schema:
            keys = [schema["x-kubernetes-patch-merge-key"]]
        if keys:
            node["keys"] = keys
            item = items["$ref"].rsplit("/", 1)[1]
            defaults = {key: go[2] for key in keys if (go := self.go.field(item, key)) and go[2] is not None}
            if defaults:
                node["defaults"] = defaults
        if schema.get("x-kubernetes-list-type") == "set":
            node["set"] = True
        if (owner, field) in UNIQUE:
            node["unique"] = UNIQUE[owner, field]
        return node

    def plain(self, schema):
        if "$ref" in schema:
            return self.definition(schema["$ref"].rsplit("/", 1)[1])
        kind = schema.get("type")
        if kind == "array":
            return self.place({"list": {"of": self.plain(schema["items"])}})
        if kind == "object":
            inner = schema.get("additionalProperties")
            return self.place({"map": self.plain(inner)} if inner else "any")
        return self.place(PLAIN[kind, schema.get("format")])


def scopes(document):
    """Tells for each kind that can be created whether it lives in a namespace."""
    found = {}
    for path, operations in sorted(document["paths"].items()):
        kind = operations.get("post", {}).get("x-kubernetes-group-version-kind")
        if kind and not path.rsplit("/", 2)[1].startswith("{name}"):
            found.setdefault((kind["group"], kind["version"], kind["kind"]), "/namespaces/{namespace}/" in path)
    return found


def compact(version):
    root = module("k8s.io/kubernetes", f"v{version}")
    go = GoTypes(module("k8s.io/api", "v0" + version[1:]))
    document = json.loads((root / "api/openapi-spec/swagger.json").read_text())
    scope, nodes, kinds = scopes(document), Nodes(document["definitions"], go), []
    for name, schema in sorted(document["definitions"].items()):
        metadata = schema.get("properties", {}).get("metadata", {}).get("$ref", "")
        for kind in schema.get("x-kubernetes-group-version-kind", []):
            key = (kind["group"], kind["version"], kind["kind"])
            if metadata.endswith(".ObjectMeta") and key in scope:
                entry = {"group": key[0], "version": key[1], "kind": key[2], "namespaced": scope[key]}
                kinds.append(entry | {"node": nodes.definition(name)})
    kinds.sort(key=lambda kind: (kind["group"], kind["kind"], kind["version"]))
    minor = version.rsplit(".", 1)[0]
    source = f"k8s.io/kubernetes v{version}"
    text = json.dumps({"minor": minor, "source": source, "kinds": kinds, "nodes": nodes.nodes}, separators=(",", ":"))
    target = Path(__file__).resolve().parent / f"v{minor}.json.zst"
    subprocess.run(["zstd", "-q", "-f", "-19", "-o", str(target), "-"], input=text.encode(), check=True)
    words = sum(isinstance(node, dict) and "enum" in node for node in nodes.nodes)
    print(f"{target.name}: {len(kinds)} kinds, {len(nodes.nodes)} nodes, {words} word lists, {len(text)} -> {target.stat().st_size} bytes")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for argument in sys.argv[1:]:
        compact(argument)
