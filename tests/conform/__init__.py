"""How the conformance suite itself is tested."""
