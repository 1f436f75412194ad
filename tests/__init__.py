import sys

# jsonschema would import it for the sake of a format that no schema here has, and it takes two seconds of CPU.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
