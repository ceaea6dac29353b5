"""Long-running random tests: `python -P -m fuzz HARNESS --seconds N` in the folder `tests`, or `make fuzz`.

A harness is a module with `check(seed, folder)`: it makes one case from the seed alone, returns a word for what became
of it, and raises where something is wrong. It leaves the case as files `case.*` in the folder. It runs in a process of
its own, so that a crash, a hang and growing memory are findings too. `prepare(folder)`, where there is one, is called
first, and `VARIANTS` says that every case has to be run by every variant of the CPU kernels. With `FIELDS`, the word
has " @ " and the changes of the case behind it, separated by "; ": results are also counted for each of these. Its
file `case.txt` has the changes, one a line.
"""

HARNESSES = (
    "differential_operators",
    "differential_models",
    "hostile_models",
    "hostile_proofs",
    "certified_mutations",
    "hostile_files",
    "hostile_exports",
)
