"""Ask Argo's own libraries anew about every text in the records, and write their answers; see ``main.go``."""

import json
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORDS = HERE.parent.parent / "workflows" / "local" / "language.json"


def main() -> None:
    records = json.loads(RECORDS.read_text(encoding="utf-8"))
    asked = "".join(
        json.dumps(
            {"kind": each["kind"], "text": each["text"], "strict": each.get("strict", False), "vars": records["vars"]}
        )
        + "\n"
        for each in records["cases"]
    )
    told = subprocess.run(["go", "run", "."], cwd=HERE, input=asked, capture_output=True, text=True, check=True).stdout
    for case, line in zip(records["cases"], told.splitlines(), strict=True):
        answer = json.loads(line)
        case.pop("value", None)
        case.pop("error", None)
        case |= {"error": answer["error"]} if answer["error"] else {"value": answer["value"]}
    write(records)


def write(records: dict[str, object]) -> None:
    cases = ",\n".join(f"  {json.dumps(case, ensure_ascii=False)}" for case in records["cases"])  # type: ignore[attr-defined]
    RECORDS.write_text(
        f'{{\n "vars": {json.dumps(records["vars"], ensure_ascii=False)},\n "cases": [\n{cases}\n ]\n}}\n',
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
