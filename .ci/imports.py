"""Imports between the files of a crate, and the circles that they make."""

import re
import tempfile
from pathlib import Path

SKIPPED = re.compile(
    r'//[^\n]*'
    r'|/\*.*?\*/'
    r'|r(#*)".*?"\1'
    r'|"(?:\\.|[^"\\])*"'
    r"|'(?:\\[^']+|[^'\\])'",
    re.DOTALL,
)
TOKEN = re.compile(r"\w+|::|=>|\S")
ITEM = re.compile(r"\b(?:fn|struct|enum|trait|type|const|static|union|macro_rules!)\s+(\w+)")


def code(text):
    """A file without comments, texts and items that only tests have."""
    text = SKIPPED.sub(" ", text)
    while match := re.search(r"#\s*\[\s*cfg\s*\(\s*test\s*\)\s*\]", text):
        end, depth = match.end(), 0
        for end in range(match.end(), len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0 and text[end] in ";}":
                break
        text = text[:match.start()] + text[end + 1:]
    return text


class File:
    """A module with a file of its own. `uses` are its imports: where they stand, the name, the path, and whether they are exported."""

    def __init__(self, module, text):
        self.module = module
        self.items = set(ITEM.findall(text))
        self.uses = []
        self.paths = []
        # Tokens that are no part of an import.
        self.rest = []
        self._read(TOKEN.findall(text))

    def _read(self, tokens):
        inner, depth, at = [], 0, 0
        while at < len(tokens):
            token = tokens[at]
            if token == "mod" and tokens[at + 2:at + 3] == ["{"]:
                inner.append((tokens[at + 1], depth))
                self.items.add(tokens[at + 1])
                at += 2
                continue
            if token == "use":
                exported = self._is_exported(tokens, at)
                at = self._tree(tokens, at + 1, [], exported, [name for name, _ in inner])
                continue
            depth += {"{": 1, "}": -1}.get(token, 0)
            if inner and token == "}" and depth == inner[-1][1]:
                inner.pop()
            self.rest.append(token)
            if re.fullmatch(r"[a-z_]\w*", token) and tokens[at + 1:at + 2] == ["::"] and tokens[at - 1:at] != ["::"]:
                path = [token]
                while tokens[at + 1:at + 2] == ["::"] and re.fullmatch(r"\w+", tokens[at + 2]):
                    path.append(tokens[at + 2])
                    self.rest.append(tokens[at + 2])
                    at += 2
                self.paths.append(([name for name, _ in inner], path))
            at += 1

    @staticmethod
    def _is_exported(tokens, at):
        before = at - 1
        if before >= 0 and tokens[before] == ")":
            while tokens[before] != "(":
                before -= 1
            before -= 1
        return before >= 0 and tokens[before] == "pub"

    def _tree(self, tokens, at, path, exported, inner):
        """Reads one tree of an import up to its end."""
        path, name = list(path), None
        while True:
            token = tokens[at]
            if token == "{":
                at += 1
                while tokens[at] != "}":
                    at = self._tree(tokens, at, path, exported, inner)
                    if tokens[at] == ",":
                        at += 1
                return at + 1
            if token == "as":
                name, at = tokens[at + 1], at + 2
            elif token in (",", ";", "}"):
                break
            else:
                if token != "::":
                    path.append(token)
                at += 1
        if path and path[-1] == "self":
            path.pop()
        if path:
            self.uses.append((inner, name or path[-1], path, exported))
        return at


class Crate:
    def __init__(self, source):
        self.files, self.names = {}, {}
        for path in sorted(Path(source).rglob("*.rs")):
            parts = path.relative_to(source).with_suffix("").parts
            if "tests" in parts:
                continue
            module = parts[:-1] if parts[-1] in ("lib", "mod") else parts
            self.names[module] = path.relative_to(source).as_posix()
            self.files[module] = File(module, code(path.read_text()))

    def _absolute(self, file, inner, path):
        """The path from the root of the crate, or nothing if it leads out of the crate."""
        here = [*file.module, *inner]
        first, rest = path[0], path[1:]
        if first == "crate":
            return rest
        if first == "self":
            return [*here, *rest]
        if first == "super":
            while path and path[0] == "super":
                here, path = here[:-1], path[1:]
            return [*here, *path]
        if tuple([*file.module, first]) in self.files:
            return [*file.module, *path]
        return None

    def _home(self, path, seen=()):
        """The file in which the item of an absolute path is defined."""
        module = ()
        while len(module) < len(path) and (*module, path[len(module)]) in self.files:
            module = (*module, path[len(module)])
        file, rest = self.files.get(module), path[len(module):]
        # An inline module of this file.
        while rest and file and rest[0] in file.items and len(rest) > 1:
            rest = rest[1:]
        if file is None or not rest or rest[0] in file.items or (module, rest[0]) in seen:
            return module
        seen = (*seen, (module, rest[0]))
        for inner, name, target, _ in file.uses:
            if name == rest[0]:
                absolute = self._absolute(file, inner, target)
                return module if absolute is None else self._home([*absolute, *rest[1:]], seen)
        for inner, name, target, _ in file.uses:
            absolute = self._absolute(file, inner, target[:-1]) if name == "*" and len(target) > 1 else None
            if absolute is not None and tuple(absolute) != module:
                home = self._home([*absolute, rest[0]], seen)
                if home in self.files and rest[0] in self.files[home].items:
                    return home
        return module

    def edges(self):
        """The files that each file imports from, by their names."""
        found = {}
        for module, file in self.files.items():
            targets = set()
            for inner, name, path, exported in file.uses:
                absolute = self._absolute(file, inner, path[:-1] if name == "*" else path)
                if absolute is None:
                    continue
                home = self._home(absolute)
                # A module may export items of its children. If it uses them too, it imports them.
                if exported and home[:len(module)] == module and (name == "*" or name not in file.rest):
                    continue
                targets.add(home)
            for inner, path in file.paths:
                absolute = self._absolute(file, inner, path)
                if absolute is not None:
                    targets.add(self._home(absolute))
            found[self.names[module]] = {self.names[target] for target in targets - {module}}
        return found


def circles(edges):
    """The imports that are part of a circle."""
    reached = {}
    for name in edges:
        seen, waiting = set(), [name]
        while waiting:
            for target in edges.get(waiting.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        reached[name] = seen
    return {(name, target) for name, targets in edges.items() for target in targets if name in reached[target]}


def self_test():
    """The circles of small crates, so that the rule sees what it should see."""
    def in_circles(files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return {name for pair in circles(Crate(folder).edges()) for name in pair}

    for expected, files in [
        ("", {"lib.rs": "mod a; mod b;", "a.rs": "use crate::b::B;", "b.rs": "pub struct B; // crate::a::A"}),
        ("a.rs b.rs", {"lib.rs": "mod a; mod b;", "a.rs": "use crate::b::B; pub struct A;", "b.rs": "use crate::{a::A}; pub struct B;"}),
        ("a.rs b.rs", {"lib.rs": "mod a; mod b;", "a.rs": "use crate::b::B; pub struct A;", "b.rs": "pub fn b() { crate::a::A; } pub struct B;"}),
        # Through a name at the root, and through a glob.
        ("a.rs b.rs", {"lib.rs": "mod a; mod b; pub use a::A; pub use b::*;", "a.rs": "use crate::B; pub struct A;", "b.rs": "use crate::A; pub struct B;"}),
        # A parent that only exports its children imports nothing.
        ("", {"lib.rs": "mod p;", "p.rs": "mod c; pub use c::C; pub struct P;", "p/c.rs": "use super::P; pub struct C;"}),
        ("p.rs p/c.rs", {"lib.rs": "mod p;", "p.rs": "mod c; pub use c::C; pub struct P(C);", "p/c.rs": "use super::P; pub struct C;"}),
        ("p.rs p/c.rs", {"lib.rs": "mod p;", "p.rs": "mod c; pub struct P(c::C);", "p/c.rs": "use super::P; pub struct C;"}),
        # Siblings through their parent are no circle with the parent.
        ("", {"lib.rs": "mod p;", "p.rs": "mod c; mod d; pub use c::C;", "p/c.rs": "pub struct C;", "p/d.rs": "use super::C;"}),
        # Tests and texts do not count, and an inline module is its file's.
        ("", {"lib.rs": "mod a; mod b;", "a.rs": "use crate::b::B; pub struct A;", "b.rs": "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }"}),
        ("", {"lib.rs": "mod a; mod b;", "a.rs": "use crate::b::B; pub struct A;", "b.rs": 'pub struct B; const T: &str = "crate::a::A"; mod c { use super::B; }'}),
        ("a.rs b.rs c.rs", {"lib.rs": "mod a; mod b; mod c;", "a.rs": "use crate::b::B; pub struct A;", "b.rs": "use crate::c::C; pub struct B;", "c.rs": "use crate::a::A; pub struct C;"}),
    ]:
        found = in_circles(files)
        assert found == set(expected.split()), f"{files}: found {found}"

    edges = {"a.rs": {"b.rs"}, "b.rs": {"a.rs", "c.rs"}, "c.rs": set()}
    assert circles(edges) == {("a.rs", "b.rs"), ("b.rs", "a.rs")}
