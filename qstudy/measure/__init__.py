"""Accuracy, latency, size, their intervals and verdicts, and the machine behind them.

statistics and accuracy import no torch; latency times in fresh processes (worker).
"""
