import pytest

from codeling.corpus.redaction.domains import is_mail_domain


@pytest.mark.parametrize("domain", ["corp.io", "uni-koeln.de", "firm.co.uk", "Corp.IO"])
def test_domains_of_mail(domain: str) -> None:
    assert is_mail_domain(domain)


@pytest.mark.parametrize("domain", ["k.mT", "2x.webp", "tty1.service", "self.io", "core.js"])
def test_attributes_files_and_units_are_not_domains(domain: str) -> None:
    assert not is_mail_domain(domain)
