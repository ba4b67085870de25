"""`make mutants`: faults are put into the code one at a time, and the tests have to notice each of them.

    make mutants                                        # every package, in at most 30 minutes
    make mutants ARGS='delivery --seed 7 --most 150'    # one of them, another sample
    make mutants ARGS='delivery --again'                # what survived last time, after tests were written

A line of the code is drawn, then one fault in it, so that long calls weigh no more than short ones; the same seed draws
the same faults from the same code. The faults are mutmut's, and three that it lacks: a call whose result nobody uses is
left out, so is a `del`, and the condition of an `if` is turned around. Left out, for no test should depend on it: text
for people (docstrings, log lines, any string with a space in it), types (annotations, casts, protocols, overloads), one
more than a thousand, `__slots__`, `__all__`, decorators, imports, and what is generated. The faults in the Node SDK are
Stryker's, less those in text for people.

First the tests of a package run once without a fault, which shows which tests reach which line and how long each takes.
A fault is then judged by the tests that reach its line, the quickest first and the same tests with Redis last, up to
the first that fails. A test that takes far longer than it did is killed, and has noticed. Some places are judged
without their fault, for a test that fails for another reason makes the score too high. Everything happens in copies
below `.build`.

A fault with which pytest can't run (an internal error, no tests) is unjudged, and the run is not good; nor is one in
which nothing was judged.

What survives either needs a test, or changes nothing that anybody can see: then it stands in `equivalent.toml` with the
reason. The score is the share of all others that were noticed.
"""
