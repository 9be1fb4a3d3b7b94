"""Certificates made for a test: an authority, servers and clients, as strict verifiers want them."""

import datetime
import ipaddress
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)

PARTS = {"CN": NameOID.COMMON_NAME, "O": NameOID.ORGANIZATION_NAME, "C": NameOID.COUNTRY_NAME}


def named(**parts):
    """A distinguished name: `named(C="DE", O="Acme", CN="client")`."""
    return x509.Name([x509.NameAttribute(PARTS[part], value) for part, value in parts.items()])


def rsa_key():
    """A private key of the kind that old clients need in a server."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem_of(key, passphrase=None):
    """A private key as its file has it."""
    encryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def write_key(path, pem, mode=0o600):
    """Writes a key for its owner alone, in place of what is there."""
    path.write_bytes(pem)
    os.chmod(path, mode)


class Authority:
    """An authority of its own, whose certificates it puts into a directory."""

    def __init__(self, directory, name="Leveret test authority"):
        self.directory = directory
        self.name = named(O=name)
        self.key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        usage = _usage(key_cert_sign=True, crl_sign=True)
        public = self.key.public_key()
        builder = self._builder(self.name, public, now - DAY, now + 30 * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(usage, critical=True)
        self.certificate = builder.sign(self.key, hashes.SHA256())
        self.path = directory / f"{name.replace(' ', '_')}.pem"
        self.path.write_bytes(_pem(self.certificate))

    def _builder(self, subject, public, since, until):
        identifier = x509.SubjectKeyIdentifier.from_public_key(public)
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(since).not_valid_after(until)
        return builder.add_extension(identifier, critical=False).add_extension(own, critical=False)

    def _issue(self, subject, key, usage, alternative, expired):
        now = datetime.datetime.now(datetime.timezone.utc)
        until = now - DAY if expired else now + 10 * DAY
        builder = self._builder(subject, key.public_key(), now - 2 * DAY, until)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(digital_signature=True), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if alternative:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def server(self, stem="server", host="localhost", key=None, expired=False):
        """A server's certificate and key, as the paths of two files."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        alternative = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        if host != "localhost":
            alternative = alternative[:1]
        subject, usage = named(CN=host), ExtendedKeyUsageOID.SERVER_AUTH
        return self._write(stem, self._issue(subject, key, usage, alternative, expired), key)

    def client(self, stem="client", subject=None, alternative=(), expired=False):
        """A client's certificate and key, as the paths of two files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject, usage = subject or named(O="Acme", CN=stem), ExtendedKeyUsageOID.CLIENT_AUTH
        return self._write(stem, self._issue(subject, key, usage, list(alternative), expired), key)

    def revoke(self, path):
        """A list of revocations with one certificate, as the path of its file."""
        now = datetime.datetime.now(datetime.timezone.utc)
        serial = x509.load_pem_x509_certificate(path.read_bytes()).serial_number
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - DAY).build()
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(now - DAY)
        builder = builder.next_update(now + DAY).add_revoked_certificate(revoked)
        builder = builder.add_extension(x509.CRLNumber(1), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        revocations = builder.add_extension(identifier, critical=False).sign(self.key, hashes.SHA256())
        written = self.directory / "revocations.pem"
        written.write_bytes(revocations.public_bytes(serialization.Encoding.PEM))
        return written

    def _write(self, stem, certificate, key):
        cert_path, key_path = self.directory / f"{stem}.pem", self.directory / f"{stem}.key"
        cert_path.write_bytes(_pem(certificate))
        write_key(key_path, pem_of(key))
        return cert_path, key_path


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def _usage(**yes):
    names = "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign"
    flags = dict.fromkeys([*names.split(), "crl_sign", "encipher_only", "decipher_only"], False)
    return x509.KeyUsage(**(flags | yes))
