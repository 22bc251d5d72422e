"""A contract for import-linter, which can forbid what it is told of but has no way to say "only these"."""

from __future__ import annotations

import sys

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class OnlyContract(Contract):
    """What is outside our own packages may be imported only if it is `allowed` or of the standard library."""

    type_name = "only"

    source_modules = fields.SetField(subfield=fields.StringField())
    except_modules = fields.SetField(subfield=fields.StringField(), required=False, default=set())
    allowed = fields.SetField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        ours = set(self.session_options["root_packages"])
        accepted = ours | set(self.allowed) | sys.stdlib_module_names  # type: ignore[call-overload]
        broken = [
            f"{module} imports {imported}"
            for module in sorted(graph.modules)
            if within(module, self.source_modules) and not within(module, self.except_modules)  # type: ignore[arg-type]
            for imported in sorted(graph.find_modules_directly_imported_by(module))
            if imported.partition(".")[0] not in accepted
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for line in check.metadata["broken"]:
            output.print_error(f"- {line}")


def within(module: str, packages: set[str]) -> bool:
    """Is it one of these, or inside one?"""
    return any(module == package or module.startswith(f"{package}.") for package in packages)
