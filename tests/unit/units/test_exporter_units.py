"""The units of the exporter."""

from __future__ import annotations

from sockact.systemd import listeners
from sockact.units import unitfile
from sockact.units.render import exporter_units, templates


def test_they_fit_each_other() -> None:
    found = templates.files("/usr/bin/sockact")
    socket = unitfile.parse(found["sockact-exporter.socket"])
    service = unitfile.parse(found["sockact-exporter.service"])
    assert socket["Socket"]["ListenStream"] == [exporter_units.ADDRESS]
    assert str(listeners.parse(exporter_units.ADDRESS)[1]) == exporter_units.ADDRESS
    assert service["Unit"]["Requires"] == ["sockact-exporter.socket"]
    assert service["Service"]["ExecStart"] == ["/usr/bin/sockact exporter"]


def test_it_has_no_more_rights_than_it_needs() -> None:
    text = templates.files()["sockact-exporter.service"]
    service = unitfile.parse(text)["Service"]
    assert service["CapabilityBoundingSet"] == ["CAP_DAC_OVERRIDE"]
    assert service["PrivateNetwork"] == ["yes"]
    assert service["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert service["ProtectSystem"] == ["strict"]
