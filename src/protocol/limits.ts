/** Bounds that belong to protocol version 1 itself: they stand in its schemas, so changing one is a new version. */
export const protocolLimits = {
  serviceBytesMax: 512,
  namespaceCharsMax: 128,
  groupCharsMax: 128,
  hostCharsMax: 255,
  instanceIdBytesMax: 512,
  zoneBytesMax: 128,
  weightMax: 10_000,
  weightDefault: 100,
  /** Persistent instances of one service, which are declared together. */
  persistentPerServiceMax: 1000,
  descriptionBytesMax: 1024,
  ownerBytesMax: 256,
  metadataEntriesMax: 64,
  metadataKeyBytesMax: 128,
  /** Keys and values together. */
  metadataBytesMax: 8192,
  selectorEntriesMax: 8,
  /** Keys and values together. */
  selectorBytesMax: 1024,
  requestIdCharsMax: 128,
  /** Characters of one request or one HTTP body other than white space and strings, each of which counts for nine: a hundred times what any valid one has. */
  requestWeightMax: 262_144,
  clientBytesMax: 256,
  tokenBytesMax: 8192,
  secretCharsMax: 128,
  capabilitiesMax: 32,
  capabilityCharsMax: 64,
  protocolVersionMax: 65_535,
  keyBytesMax: 1024,
  /** Of a key, before it is encoded in base64. */
  keyValueBytesMax: 524_288,
  keyTransactionOperationsMax: 128,
  /** Values on one page of a list of keys. */
  keyPageBytesMax: 1_048_576,
  /** Keys that a page looks at; with a separator many may be shown as one. */
  keyPageScanMax: 10_000,
  /** Keys with a prefix that one commit deletes. */
  keyPrefixDeletionsMax: 1000,
  lockDelayMsMax: 60_000,
  lockDelayMsDefault: 15_000,
  checkIntervalMsMin: 1000,
  checkIntervalMsMax: 3_600_000,
  checkIntervalMsDefault: 10_000,
  checkTimeoutMsDefault: 5000,
  checkTimeoutMsMax: 60_000,
  checkJitterPercentDefault: 10,
  checkFailuresDefault: 3,
  /** Results in a row before a check changes its mind. */
  checkStreakMax: 100,
  checkPathBytesMax: 1024,
  checkBodyBytesMax: 256,
  checkHeadersMax: 16,
  checkHeadersBytesMax: 2048,
  cursorCharsMax: 2048,
  listLimitMax: 1000,
  listLimitDefault: 100,
  partitionsMax: 256,
  /** A higher version is none that a client can resume from: what it shows must not use up the versions that are left. */
  heldVersionMax: 4_503_599_627_370_496,
  /** How long an operator's order may stand before it is lifted by itself: 30 days. */
  switchMsMax: 2_592_000_000,
  accessNameCharsMax: 128,
  principalCharsMax: 256,
  policyRulesMax: 100,
  /** Names that one rule lists of one kind, and principals of a policy. */
  policyNamesMax: 100,
  tokenPoliciesMax: 32,
  /** A year. */
  tokenMsMax: 31_536_000_000,
  /** However long a server wants a client to stay away. */
  goawayMsMax: 60_000,
} as const;

export const protocolVersion = 1;
/** The least version that is still spoken, by servers and by the client. */
export const protocolVersionMin = 1;
/** What who does not say a version speaks: there was no other when that could not be said. */
export const protocolVersionUnsaid = 1;
export const sessionPath = '/v1/session';
/** Offered by clients in `Sec-WebSocket-Protocol` if they wish; echoed when offered. */
export const subprotocol = 'slotcast.v1';

/** Bounds of exports, and of dumps of other registries. */
export const archiveLimits = {
  /** Bytes of one line of an export, or of a dump that is read by lines: the longest value of a key in base64 fits. */
  lineBytesMax: 2_097_152,
  /** Bytes of what is read at once of a dump of JSON or XML: a row, an application, or an answer. */
  elementBytesMax: 33_554_432,
  /** How deep such JSON or XML may be nested. */
  depthMax: 64,
  /** Reasons that a report tells apart; what has yet another one is counted together. */
  reportReasonsMax: 100,
  /** Examples that it gives for each. */
  reportExamplesMax: 3,
} as const;
