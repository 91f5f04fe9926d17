"""A campaign against what ltsweep reads: thousands of mutants of one real study, each given to what a user runs.

    python -m benchmarks.attack                         2,000 mutants; exits with 1 if a reader fails
    python -m benchmarks.attack --only 1234             one of them again, with all that its readers say

study.py makes the study. bytes.py, texts.py and tensors.py change a file; mutants.py draws file and change by a number.
readers.py runs the command, the status and the analysis on it, oracles.py says whether that went well, children.py
keeps time, memory and the files around the study, and report.py counts.
"""
