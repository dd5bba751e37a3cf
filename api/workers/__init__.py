"""Worker processes for risk and optimisation, so that neither ever blocks a forecast.

``WorkerPool(settings, source)`` with ``await pool.start()`` and ``await pool.stop()``, or ``async with`` it.
"""
