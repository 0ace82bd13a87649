"""The Prometheus exporter: an HTTP server that asks the supervisors when it is asked."""

__all__ = ("server",)
