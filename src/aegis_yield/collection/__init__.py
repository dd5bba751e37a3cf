"""Collection: what on-chain strategies paid, brought from the sources into the tables of the data contract.

::

    plan ─► request ─► RAW (append-only) ─► parse ─► check ─► HISTORY (revisions) ─► assemble ─► tables

A *source* (``sources/``) says what can be asked of a host and how an answer is read. Everything else is shared:
``client`` asks (limits, retries, breakers), ``raw`` keeps every answer, ``journal`` remembers what was done,
``history`` keeps every value ever seen of every day, ``assemble`` makes the three tables from it.
"""
