import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  ExtendedKeyUsage,
  Extension,
  Extensions,
  GeneralName,
  id_ce_authorityKeyIdentifier,
  id_ce_basicConstraints,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  id_ce_subjectAltName,
  id_ce_subjectKeyIdentifier,
  id_kp_clientAuth,
  id_kp_serverAuth,
  KeyIdentifier,
  KeyUsage,
  KeyUsageFlags,
  Name,
  RelativeDistinguishedName,
  SubjectAlternativeName,
  SubjectKeyIdentifier,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from '@peculiar/asn1-x509';

/** A certificate and its key, in PEM form. */
export interface IssuedCertificate {
  readonly certificate: string;
  readonly key: string;
}

/** What a certificate is to say. */
export interface CertificateRequest {
  readonly usage: 'server' | 'client';
  readonly commonNames: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  readonly uris?: readonly string[];
  readonly validity: CertificateValidity;
}

export interface CertificateValidity {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

const ecdsaWithSha256 = '1.2.840.10045.4.3.2';
const commonNameType = '2.5.4.3';

/** Issues certificates for trying, with keys on P-256. Not for production: it has no revocation, and nobody guards its key. */
export class CertificateAuthority {
  readonly #name: Name;
  readonly #key: KeyObject;
  readonly #keyId: ArrayBuffer;
  readonly issued: IssuedCertificate;

  /** Begins a new one, or goes on with one that was begun before. */
  constructor(commonName: string, validity: CertificateValidity, begun?: IssuedCertificate) {
    const privateKey = begun === undefined ? generateKey() : createPrivateKey(begun.key);
    const publicKey = createPublicKey(privateKey);
    this.#key = privateKey;
    this.#keyId = identify(publicKey);
    if (begun !== undefined) {
      const { raw } = new X509Certificate(begun.certificate);
      this.#name = AsnConvert.parse(raw, Certificate).tbsCertificate.subject;
      this.issued = begun;
      return;
    }
    this.#name = nameOf([commonName]);
    const extensions = [
      extend(id_ce_basicConstraints, new BasicConstraints({ cA: true, pathLenConstraint: 0 }), true),
      extend(id_ce_keyUsage, new KeyUsage(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign), true),
      extend(id_ce_subjectKeyIdentifier, new SubjectKeyIdentifier(this.#keyId)),
    ];
    const certificate = this.#sign({ subject: this.#name, publicKey, validity, extensions });
    this.issued = { certificate, key: formatKey(privateKey) };
  }

  issue(request: CertificateRequest): IssuedCertificate {
    const { usage, commonNames, dnsNames = [], ipAddresses = [], uris = [], validity } = request;
    const privateKey = generateKey();
    const publicKey = createPublicKey(privateKey);
    const names = [
      ...dnsNames.map((dNSName) => new GeneralName({ dNSName })),
      ...ipAddresses.map((iPAddress) => new GeneralName({ iPAddress })),
      ...uris.map((uniformResourceIdentifier) => new GeneralName({ uniformResourceIdentifier })),
    ];
    const extensions = [
      extend(id_ce_basicConstraints, new BasicConstraints({ cA: false }), true),
      extend(id_ce_keyUsage, new KeyUsage(KeyUsageFlags.digitalSignature), true),
      extend(id_ce_extKeyUsage, new ExtendedKeyUsage([usage === 'server' ? id_kp_serverAuth : id_kp_clientAuth])),
      extend(id_ce_subjectKeyIdentifier, new SubjectKeyIdentifier(identify(publicKey))),
      extend(
        id_ce_authorityKeyIdentifier,
        new AuthorityKeyIdentifier({ keyIdentifier: new KeyIdentifier(this.#keyId) }),
      ),
      ...(names.length === 0 ? [] : [extend(id_ce_subjectAltName, new SubjectAlternativeName(names))]),
    ];
    const certificate = this.#sign({ subject: nameOf(commonNames), publicKey, validity, extensions });
    return { certificate, key: formatKey(privateKey) };
  }

  #sign({
    subject,
    publicKey,
    validity,
    extensions,
  }: {
    readonly subject: Name;
    readonly publicKey: KeyObject;
    readonly validity: CertificateValidity;
    readonly extensions: Extension[];
  }): string {
    const algorithm = new AlgorithmIdentifier({ algorithm: ecdsaWithSha256 });
    const tbsCertificate = new TBSCertificate({
      version: Version.v3,
      serialNumber: createSerial(),
      signature: algorithm,
      issuer: this.#name,
      validity: new Validity(validity),
      subject,
      subjectPublicKeyInfo: AsnConvert.parse(exportKey(publicKey), SubjectPublicKeyInfo),
      extensions: new Extensions(extensions),
    });
    const signature = sign('sha256', Buffer.from(AsnConvert.serialize(tbsCertificate)), this.#key);
    const signed = new Certificate({
      tbsCertificate,
      signatureAlgorithm: algorithm,
      signatureValue: copyBuffer(signature),
    });
    const text = Buffer.from(AsnConvert.serialize(signed))
      .toString('base64')
      .replaceAll(/(.{64})/g, '$1\n')
      .trimEnd();
    return `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`;
  }
}

function generateKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

function formatKey(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string;
}

function exportKey(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' });
}

function identify(key: KeyObject): ArrayBuffer {
  return copyBuffer(createHash('sha1').update(exportKey(key)).digest());
}

/** Positive, and never the same twice. */
function createSerial(): ArrayBuffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return copyBuffer(bytes);
}

function nameOf(commonNames: readonly string[]): Name {
  return new Name(
    commonNames.map(
      (utf8String) =>
        new RelativeDistinguishedName([
          new AttributeTypeAndValue({ type: commonNameType, value: new AttributeValue({ utf8String }) }),
        ]),
    ),
  );
}

function extend(extnID: string, value: object, critical = false): Extension {
  return new Extension({ extnID, critical, extnValue: new OctetString(AsnConvert.serialize(value)) });
}

function copyBuffer(bytes: Buffer): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}
