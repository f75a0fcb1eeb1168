import { availableParallelism } from 'node:os';

import { protocolLimits } from '../protocol/limits.ts';
import type { JsonSchema } from '../protocol/schemas.ts';
import { partitionsMax } from '../slots/slot-table.ts';
import { explainUselessScript } from './check-scripts.ts';
import { explainUselessKeys } from './jwt-keys.ts';
import { explainUselessOrigin } from './origins.ts';
import { explainUselessTarget } from './probe-targets.ts';

/** Every setting of the server, units in the names. docs/OPERATIONS.md lists them; a test compares. */
export interface ServerConfig {
  readonly host: string;
  readonly port: number;
  readonly httpPort: number;
  readonly partitions: number;
  readonly ioThreads: number;
  readonly edgeThreads: number;
  readonly transport: 'auto' | 'uws' | 'node';
  readonly tlsCert: string;
  readonly tlsKey: string;
  readonly tlsCa: string;
  readonly tlsClientCertificate: 'none' | 'request' | 'require';
  readonly tlsPrincipal: 'cn' | 'san-uri' | 'san-dns';
  readonly tlsHandshakesMax: number;
  readonly logLevel: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'silent';
  readonly logBytesMax: number;
  readonly dataDir: string;
  readonly inMemory: boolean;
  readonly storeBytesMax: number;
  readonly storeRowBytesMax: number;
  readonly storeGroupBytesMax: number;
  readonly storeQueueBytesMax: number;
  readonly storeReadBytesMax: number;
  readonly storeLogBytesMax: number;
  readonly storeFeedBytesMax: number;
  readonly storeWatchesMax: number;
  readonly storeRetryMaxMs: number;
  readonly jointCommitTimeoutMs: number;
  readonly backupIdleTimeoutMs: number;
  readonly audit: 'on' | 'off';
  readonly auditRequired: boolean;
  readonly auditKeys: boolean;
  readonly auditFileBytesMax: number;
  readonly auditFilesMax: number;
  readonly auditQueueBytesMax: number;
  readonly openRequired: boolean;
  readonly insecure: boolean;
  readonly accessControl: 'off' | 'on';
  readonly accessDefault: 'deny' | 'allow';
  readonly revalidateMs: number;
  readonly authFailuresMax: number;
  readonly tokensMax: number;
  readonly policiesMax: number;
  readonly allowedOrigins: readonly string[];
  readonly administrationOrigins: readonly string[];
  readonly allowedHosts: readonly string[];
  readonly jwtKeys: string;
  readonly jwtIssuer: string;
  readonly jwtAudience: string;
  readonly jwtClockSkewMs: number;
  readonly jwtPoliciesClaim: string;
  readonly jwtNameClaim: string;
  readonly disconnectGraceMs: number;
  readonly heartbeatTimeoutMs: number;
  readonly coalesceWindowMinMs: number;
  readonly coalesceWindowMaxMs: number;
  readonly warmUpMs: number;
  readonly warmUpMaxMs: number;
  readonly warmStart: boolean;
  readonly journalBytesWaitingMax: number;
  readonly lossWindowMs: number;
  readonly lossSessionsMin: number;
  readonly lossSessionsPercent: number;
  readonly lossServiceInstancesMin: number;
  readonly lossServicePercent: number;
  readonly lossHoldMaxMs: number;
  readonly checksMax: number;
  readonly checkProbesMax: number;
  readonly checkTargets: readonly string[];
  readonly checkScripts: readonly string[];
  readonly checkLossMin: number;
  readonly checkLossPercent: number;
  readonly drainTimeoutMs: number;
  readonly reconnectSpreadMs: number;
  readonly partitionStartTimeoutMs: number;
  readonly partitionHeartbeatTimeoutMs: number;
  readonly partitionHeapMaxMb: number;
  readonly partitionRestartsMax: number;
  readonly partitionRestartWindowMs: number;
  readonly partitionRestartBackoffMs: number;
  readonly slotWaitTimeoutMs: number;
  readonly waitingRequestsMax: number;
  readonly moveSlots: number;
  readonly moveBytes: number;
  readonly restoreSliceRegistrations: number;
  readonly leaseTtlMinMs: number;
  readonly leaseTtlDefaultMs: number;
  readonly leaseTtlMaxMs: number;
  readonly leasesMax: number;
  readonly persistentInstancesMax: number;
  readonly declaredServicesMax: number;
  readonly persistentWritesMax: number;
  readonly switchesMax: number;
  readonly serviceSwitchBytesMax: number;
  readonly sessionsMax: number;
  readonly descriptorsReserved: number;
  readonly sessionsPerAddressMax: number;
  readonly sessionsPerSecondMax: number;
  readonly sessionsBurstMax: number;
  readonly arrivalRequestsMax: number;
  readonly frameBytesMax: number;
  readonly frameSliceBytes: number;
  readonly sessionIntakeBytesMax: number;
  readonly httpConnectionsMax: number;
  readonly httpRequestsMax: number;
  readonly httpHeadBytesMax: number;
  readonly httpHeadersMax: number;
  readonly httpHeadTimeoutMs: number;
  readonly httpRequestTimeoutMs: number;
  readonly httpIdleTimeoutMs: number;
  readonly httpBodyBytesInFlightMax: number;
  readonly httpWaitMaxMs: number;
  readonly httpWaitersMax: number;
  readonly bodyBytesMax: number;
  readonly httpAnswerBytesMax: number;
  readonly httpAnswerTimeoutMs: number;
  readonly batchEntriesMax: number;
  readonly batchAnswerCharactersMax: number;
  readonly requestsInFlightMax: number;
  readonly registrationsMax: number;
  readonly subscriptionsMax: number;
  readonly threadSubscriptionsMax: number;
  readonly watchedServicesMax: number;
  readonly watchedNameBytesMax: number;
  readonly keyWatchesMax: number;
  readonly threadKeyWatchesMax: number;
  readonly mailboxRequestsMax: number;
  readonly sessionShareRequests: number;
  readonly sessionBacklogBytesMax: number;
  readonly sessionUnconsumedBytesMax: number;
  readonly slowConsumerTimeoutMs: number;
  readonly slowConsumerBytesMax: number;
  readonly pushCharactersInFlightMax: number;
  readonly turnStepsMax: number;
  readonly answerCharactersInFlightMax: number;
  readonly partitionTurnWorkMax: number;
  readonly fanOutSliceMembers: number;
  readonly fanOutSliceBytes: number;
  readonly changeLogEntriesMax: number;
  readonly filtersPerServiceMax: number;
  readonly instancesPerServiceMax: number;
  readonly claimsPerInstanceMax: number;
  readonly instancesPerPartitionMax: number;
  readonly instanceBytesMax: number;
  readonly serviceListBytesMax: number;
  readonly keysPerPartitionMax: number;
  readonly keyBytesPerPartitionMax: number;
  readonly keyRequestsWaitingMax: number;
}

export type SettingName = keyof ServerConfig;

export interface Setting {
  readonly schema: JsonSchema;
  readonly default: string | number | boolean | readonly string[];
  readonly meaning: string;
  /** What is wrong with a value that the schema lets through; undefined: nothing. */
  readonly refuse?: (value: never) => string | undefined;
}

const minute = 60_000;

function integer(fallback: number, minimum: number, maximum: number, meaning: string): Setting {
  return { schema: { type: 'integer', minimum, maximum }, default: fallback, meaning };
}

/** One thread is left to the sessions. */
const partitionsDefault: number = Math.min(partitionsMax, Math.max(1, availableParallelism() - 1));

/** The one place where settings and bounds are named, with defaults and ranges (LI1). */
export const settings: Readonly<Record<SettingName, Setting>> = {
  host: {
    schema: { type: 'string', minLength: 1, maxLength: 255 },
    default: '127.0.0.1',
    meaning: 'Address to listen on.',
  },
  port: integer(7070, 0, 65_535, 'Port for sessions; 0 takes a free one.'),
  httpPort: integer(
    7071,
    0,
    65_535,
    'Port for HTTP: the API, metrics, health, descriptions; 0 takes a free one, which is also the default if `port` is 0.',
  ),
  partitions: integer(
    partitionsDefault,
    1,
    partitionsMax,
    'Worker threads that own slots; the default is one per core, minus one.',
  ),
  ioThreads: integer(0, 0, 64, 'Threads that hold sessions and their sockets; 0 leaves them to the main thread.'),
  edgeThreads: integer(
    1,
    0,
    16,
    'Threads that serve HTTP; one that dies is restarted. More than one requires Node 22.12 or later, which can share a port among threads. 0: HTTP is not served.',
  ),
  transport: {
    schema: { type: 'string', enum: ['auto', 'uws', 'node'] },
    default: 'auto',
    meaning:
      "What holds the sockets: `uws` is uWebSockets.js, `node` is Node's own, slower and on every platform; `auto` takes the first where it runs. With TLS it is `node`.",
  },
  tlsCert: {
    schema: { type: 'string', maxLength: 4096 },
    default: '',
    meaning:
      "File of the server's certificate in PEM form, followed by those of intermediate authorities. With it, and `tlsKey`, both ports speak TLS alone. It is read again when it changes.",
  },
  tlsKey: {
    schema: { type: 'string', maxLength: 4096 },
    default: '',
    meaning: 'File of its private key in PEM form, without a passphrase.',
  },
  tlsCa: {
    schema: { type: 'string', maxLength: 4096 },
    default: '',
    meaning: 'File of the authorities of client certificates, in PEM form; see `tlsClientCertificate`.',
  },
  tlsClientCertificate: {
    schema: { type: 'string', enum: ['none', 'request', 'require'] },
    default: 'none',
    meaning:
      'Whether clients show a certificate: `require` refuses those without; `request` lets them in. One that no authority of `tlsCa` has issued is refused.',
  },
  tlsPrincipal: {
    schema: { type: 'string', enum: ['cn', 'san-uri', 'san-dns'] },
    default: 'cn',
    meaning:
      "What of a client's certificate names its principal: the common name, the one URI, or the one DNS name among its alternative names. With none of that kind, or several, it names none.",
  },
  tlsHandshakesMax: integer(
    1024,
    1,
    100_000,
    'TLS handshakes under way at a time at each port of one thread; further connections are closed at once. Each has `httpHeadTimeoutMs`.',
  ),
  logLevel: {
    schema: { type: 'string', enum: ['fatal', 'error', 'warn', 'info', 'debug', 'silent'] },
    default: 'info',
    meaning: 'The lowest level that is logged.',
  },
  logBytesMax: integer(
    1_048_576,
    1024,
    1024 * 1_048_576,
    'Bytes of log lines that may wait for a slow reader; beyond it lines are dropped.',
  ),
  dataDir: {
    schema: { type: 'string', maxLength: 4096 },
    default: '',
    meaning:
      'Folder of what outlives the process; it is made if it is missing. Empty: none, and such things end with the process. `slotcast start` uses `./slotcast-data` if it is not given.',
  },
  inMemory: {
    schema: { type: 'boolean' },
    default: false,
    meaning: 'Keep what would outlive the process in memory, whatever `dataDir` says.',
  },
  storeBytesMax: integer(
    16 * 2 ** 30,
    1_048_576,
    2 ** 40,
    'Bytes of the store: its file, or its rows in memory; beyond it nothing more is stored.',
  ),
  storeRowBytesMax: integer(1_048_576, 1024, 64 * 1_048_576, 'Bytes of one row of the store.'),
  storeGroupBytesMax: integer(
    4 * 1_048_576,
    1024,
    1_073_741_824,
    'Bytes of commits that are stored together, with one synchronization of the disk; a single one may exceed it.',
  ),
  storeQueueBytesMax: integer(
    64 * 1_048_576,
    1024,
    16 * 2 ** 30,
    'Bytes of commits that may wait for the store; further ones are refused with `busy`.',
  ),
  storeReadBytesMax: integer(
    1_048_576,
    1024,
    64 * 1_048_576,
    'Bytes of rows that the store reads in one turn, and of remembered changes that it looks through for watches; a single one may exceed it.',
  ),
  storeLogBytesMax: integer(
    16 * 1_048_576,
    1024,
    16 * 2 ** 30,
    'Bytes of changes of keys that the store remembers, across which whoever watches keys can resume.',
  ),
  storeFeedBytesMax: integer(
    1_048_576,
    1024,
    1024 * 1_048_576,
    'Bytes of changes of keys on the way from the store to one thread; a single change may exceed it. Beyond it they wait in what the store remembers.',
  ),
  storeWatchesMax: integer(
    100_000,
    1,
    10_000_000,
    'Different keys and prefixes that the sessions of one thread watch.',
  ),
  storeRetryMaxMs: integer(
    10_000,
    100,
    10 * minute,
    'While nothing can be stored, it is tried again after at most this long.',
  ),
  jointCommitTimeoutMs: integer(
    5000,
    100,
    10 * minute,
    'How long the store waits for all parts of a transaction of several partitions; then none is stored.',
  ),
  backupIdleTimeoutMs: integer(
    30_000,
    100,
    10 * minute,
    'A backup is given up if its caller reads nothing of it for this long; there is one at a time.',
  ),
  audit: {
    schema: { type: 'string', enum: ['on', 'off'] },
    default: 'on',
    meaning:
      'Whether changes of what outlives the process, acts of operators and refusals are noted in `audit` in the data folder. Without a data folder nothing is noted.',
  },
  auditRequired: {
    schema: { type: 'boolean' },
    default: true,
    meaning:
      'While the audit log cannot be written, refuse with `storage_unavailable` what must be in it. False: carry it out, and count what is missing.',
  },
  auditKeys: {
    schema: { type: 'boolean' },
    default: true,
    meaning: 'Whether changes of keys are noted in the audit log, too.',
  },
  auditFileBytesMax: integer(
    64 * 1_048_576,
    1024,
    16 * 2 ** 30,
    'Bytes of one file of the audit log, after which the next one begins; what is written at once may exceed it.',
  ),
  auditFilesMax: integer(
    32,
    0,
    100_000,
    'Files of the audit log that are kept; then the oldest is removed. 0: none is ever removed.',
  ),
  auditQueueBytesMax: integer(
    16 * 1_048_576,
    1024,
    1024 * 1_048_576,
    'Characters of lines of the audit log that may wait for the disk. Beyond it, acts are refused or, unless `auditRequired`, left out.',
  ),
  openRequired: { schema: { type: 'boolean' }, default: false, meaning: 'Refuse every request before `session.open`.' },
  insecure: {
    schema: { type: 'boolean' },
    default: false,
    meaning:
      'Start although other machines can reach `host`, and there is no TLS or no access control: in a network that is trusted, or behind a proxy that does both.',
  },
  accessControl: {
    schema: { type: 'string', enum: ['off', 'on'] },
    default: 'off',
    meaning:
      'Whether callers must show credentials, and policies say what they may do. `off`: whoever reaches the ports may register and read, and administration is for callers on the loopback address. The first start with `on` writes a token for everything to `bootstrap-token` in `dataDir`.',
  },
  accessDefault: {
    schema: { type: 'string', enum: ['deny', 'allow'] },
    default: 'deny',
    meaning:
      'With access control: whether what no rule of a policy speaks of is allowed, also to callers without credentials. Operating and administering must always be allowed by a rule.',
  },
  revalidateMs: integer(
    5000,
    100,
    60 * minute,
    'How long a session may go on after its credentials have expired. What is revoked takes effect at once.',
  ),
  authFailuresMax: integer(
    30,
    1,
    1_000_000,
    'Failed attempts to authenticate in a minute and from one address, on each thread; beyond it wrong ones are refused with `busy` until the minute is over, and right ones are let in all the same.',
  ),
  tokensMax: integer(10_000, 1, 1_000_000, 'Tokens that there may be, expired ones not among them.'),
  policiesMax: integer(1000, 1, 100_000, 'Policies that there may be.'),
  allowedOrigins: {
    schema: { type: 'array', items: { type: 'string', minLength: 1 } },
    default: [],
    meaning:
      'Origins whose pages may connect, exactly as browsers send them; `*` allows all. Callers without an Origin header are not browsers and are always allowed.',
    refuse: (origins: readonly string[]) => origins.map(explainUselessOrigin).find((words) => words !== undefined),
  },
  administrationOrigins: {
    schema: { type: 'array', items: { type: 'string', minLength: 1 } },
    default: [],
    meaning:
      'Origins whose pages may also use administration, in addition to pages served by this server; `*` allows all. Administration is still limited to the loopback address.',
    refuse: (origins: readonly string[]) => origins.map(explainUselessOrigin).find((words) => words !== undefined),
  },
  allowedHosts: {
    schema: { type: 'array', items: { type: 'string', minLength: 1, maxLength: 255 } },
    default: [],
    meaning:
      'Host names that HTTP requests may use, without a port; `.example.com` stands for all names below it, `*` for all. IP addresses, names without a dot, names below `localhost` and the name of the machine are always allowed, since they cannot be used for DNS rebinding.',
  },
  jwtKeys: {
    schema: { type: 'string', maxLength: 4096 },
    default: '',
    meaning:
      'JWK set with the public keys that JSON Web Tokens are signed with: a file, or an https URL (http on this machine only), and no other is asked. Empty: no JWT is accepted. With it, `jwtIssuer` and `jwtAudience` must be given.',
    refuse: (value: string) => explainUselessKeys(value),
  },
  jwtIssuer: {
    schema: { type: 'string', maxLength: 1024 },
    default: '',
    meaning: 'What `iss` of a JWT must be, exactly.',
  },
  jwtAudience: {
    schema: { type: 'string', maxLength: 1024 },
    default: '',
    meaning: 'What `aud` of a JWT must be or contain, exactly: tokens for other services are refused.',
  },
  jwtClockSkewMs: integer(
    30_000,
    0,
    10 * minute,
    'How far the clock of the issuer of JWTs may differ; they are accepted for so much longer than they say.',
  ),
  jwtPoliciesClaim: {
    schema: { type: 'string', minLength: 1, maxLength: 256 },
    default: 'policies',
    meaning: 'The claim of a JWT that lists its policies: an array of names, or names with spaces in between.',
  },
  jwtNameClaim: {
    schema: { type: 'string', minLength: 1, maxLength: 256 },
    default: 'sub',
    meaning: 'The claim of a JWT that names whom it speaks for.',
  },
  disconnectGraceMs: integer(
    1000,
    0,
    10 * minute,
    'How long a broken connection keeps its registrations, in case its client comes back.',
  ),
  heartbeatTimeoutMs: integer(
    15_000,
    300,
    10 * minute,
    'A peer that has been silent for this long, pings included, counts as broken.',
  ),
  coalesceWindowMinMs: integer(
    20,
    0,
    10_000,
    'Shortest coalescing window: after a push, changes of the same service are merged for at least this long.',
  ),
  coalesceWindowMaxMs: integer(
    200,
    0,
    10_000,
    'Longest coalescing window; it grows to this above 500 changes/s or while the last push is still being sent.',
  ),
  lossWindowMs: integer(10_000, 100, 60 * minute, 'Connections that break within this time count as one loss.'),
  lossSessionsMin: integer(
    20,
    1,
    1_000_000,
    'Sessions that must be missing before the registry-wide loss guard holds back removals.',
  ),
  lossSessionsPercent: integer(
    30,
    1,
    101,
    'And the percentage of all sessions with registrations that must be missing; 101 disables the guard.',
  ),
  lossServiceInstancesMin: integer(
    5,
    1,
    1_000_000,
    'Instances of a service that must be missing before its loss guard holds back removals.',
  ),
  lossServicePercent: integer(
    50,
    1,
    101,
    'And the percentage of its instances that must be missing; 101 disables these guards.',
  ),
  lossHoldMaxMs: integer(10 * minute, 0, 24 * 60 * minute, 'The longest time that a guard holds back removals.'),
  checksMax: integer(
    20_000,
    0,
    1_000_000,
    'Health checks of instances that the server makes; those beyond it are not made, and their instances count as they report themselves. 0: none is made.',
  ),
  checkProbesMax: integer(
    256,
    1,
    10_000,
    'Probes of checks under way at a time, and so their sockets; further ones wait.',
  ),
  checkTargets: {
    schema: { type: 'array', items: { type: 'string', minLength: 1, maxLength: 64 } },
    default: ['private'],
    meaning:
      'Addresses that checks may reach: `private` (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7), `loopback`, and addresses or ranges such as `203.0.113.0/24`. Link-local addresses, where clouds give out secrets, are reached only if they are listed themselves.',
    refuse: (entries: readonly string[]) => entries.map(explainUselessTarget).find((words) => words !== undefined),
  },
  checkScripts: {
    schema: { type: 'array', items: { type: 'string', minLength: 3, maxLength: 4096 } },
    default: [],
    meaning:
      'Programs that checks may run, each as `name=/path/to/program argument …`, without a shell; checks say the name. Exit status 0 passes, 1 warns, any other is critical.',
    refuse: (entries: readonly string[]) => entries.map(explainUselessScript).find((words) => words !== undefined),
  },
  checkLossMin: integer(
    10,
    1,
    1_000_000,
    'While at least this many checks over the network fail at once that were fine, and `checkLossPercent` of them, nothing becomes critical: the fault is likely at the server.',
  ),
  checkLossPercent: integer(50, 1, 101, 'And the percentage of them that must fail; 101 disables this guard.'),
  warmUpMs: integer(
    20_000,
    0,
    10 * minute,
    'How long earlier clients have to come back after a start, counted again from each handshake that is refused because of the arrival rate; until then a client that resumes from before the restart keeps its list rather than get an incomplete one. 0: no warm-up.',
  ),
  warmUpMaxMs: integer(
    5 * minute,
    0,
    60 * minute,
    'The warm-up ends after this long, even if clients are still coming back.',
  ),
  warmStart: {
    schema: { type: 'boolean' },
    default: true,
    meaning:
      'With a data folder: note what sessions register in a journal, and begin with it after a restart, as unconfirmed until their clients are back.',
  },
  journalBytesWaitingMax: integer(
    64 * 1_048_576,
    65_536,
    16 * 2 ** 30,
    'Bytes that may wait to be written to the journal of one partition, or of sessions; beyond it that journal is given up, and begun anew later.',
  ),
  drainTimeoutMs: integer(2000, 0, minute, 'On shutdown, how long sessions have to leave before they are closed.'),
  reconnectSpreadMs: integer(
    2000,
    0,
    // More than clients heed would bring the rest of them back together.
    protocolLimits.goawayMsMax,
    'On shutdown, the time over which clients are asked to spread their reconnects.',
  ),
  partitionStartTimeoutMs: integer(
    10_000,
    100,
    10 * minute,
    'The start fails if a partition is not ready within this time.',
  ),
  partitionHeartbeatTimeoutMs: integer(
    5000,
    300,
    10 * minute,
    'A partition without a heartbeat for this long is ended and restarted.',
  ),
  partitionHeapMaxMb: integer(
    0,
    0,
    1_048_576,
    "A partition's heap in MiB, beyond which it dies and is rebuilt; 0 leaves it to Node.",
  ),
  partitionRestartsMax: integer(
    5,
    0,
    1000,
    'Partition deaths within `partitionRestartWindowMs` that are answered by a restart; one more ends the process.',
  ),
  partitionRestartWindowMs: integer(minute, 100, 60 * minute, 'See `partitionRestartsMax`.'),
  partitionRestartBackoffMs: integer(
    20,
    0,
    minute,
    'Backoff before the first restart of a partition; doubles with each death in the window.',
  ),
  slotWaitTimeoutMs: integer(
    5000,
    0,
    10 * minute,
    'How long requests for a slot that is moving or being rebuilt wait before they get `busy`; also how long taking over a session waits for its requests in flight.',
  ),
  waitingRequestsMax: integer(100_000, 1, 10_000_000, 'Requests that may wait for such slots.'),
  moveSlots: integer(64, 1, 16_384, 'Slots that move together in one step.'),
  moveBytes: integer(
    16 * 1_048_576,
    1024,
    16 * 2 ** 30,
    'And the bytes of instances in these slots together; a larger slot moves alone.',
  ),
  restoreSliceRegistrations: integer(
    2000,
    1,
    1_000_000,
    'Registrations sent per turn to a partition that is being rebuilt.',
  ),
  leaseTtlMinMs: integer(1000, 100, 10 * minute, 'The shortest lease that is granted.'),
  leaseTtlDefaultMs: integer(30_000, 100, 60 * minute, 'The lease granted to callers that do not ask for a duration.'),
  leaseTtlMaxMs: integer(10 * minute, 100, 24 * 60 * minute, 'The longest lease that is granted.'),
  leasesMax: integer(100_000, 0, 10_000_000, 'Leases at a time.'),
  persistentInstancesMax: integer(100_000, 0, 10_000_000, 'Persistent instances, of all services.'),
  declaredServicesMax: integer(10_000, 0, 1_000_000, 'Services that are declared with settings.'),
  persistentWritesMax: integer(
    1000,
    1,
    100_000,
    'Changes of persistent instances, declared services and switches under way; further ones are refused with `busy`.',
  ),
  switchesMax: integer(10_000, 0, 1_000_000, 'Switches in force, of all kinds.'),
  serviceSwitchBytesMax: integer(
    1_048_576,
    1024,
    67_108_864,
    'Bytes of what switches lay over the instances of one service, all of which every partition is sent with each change of them.',
  ),
  sessionsMax: integer(
    1_000_000,
    1,
    10_000_000,
    'Concurrent WebSocket sessions; the file descriptors of the process may be the tighter limit.',
  ),
  descriptorsReserved: integer(
    64,
    0,
    100_000,
    'File descriptors that sessions leave free for other uses, such as HTTP; an eighth of all, if that is less.',
  ),
  sessionsPerAddressMax: integer(1_000_000, 1, 10_000_000, 'Concurrent WebSocket sessions from one address.'),
  sessionsPerSecondMax: integer(
    10_000,
    1,
    1_000_000,
    'Sustained rate of WebSocket handshakes, per second (token bucket); further ones are asked to come back later.',
  ),
  sessionsBurstMax: integer(2000, 1, 1_000_000, 'Burst of handshakes above that rate (size of the token bucket).'),
  arrivalRequestsMax: integer(
    32_768,
    1,
    100_000_000,
    'No session is opened while more requests than this are in flight in the whole server; clients are asked to come back later.',
  ),
  frameBytesMax: integer(1_048_576, 1024, 64 * 1_048_576, 'Bytes of one WebSocket frame from a client.'),
  frameSliceBytes: integer(
    131_072,
    1024,
    64 * 1_048_576,
    'Bytes of frames processed in one turn for clients that send a frame above half of this, or more than this within 50 ms.',
  ),
  sessionIntakeBytesMax: integer(
    64 * 1_048_576,
    65_536,
    1024 * 1_048_576,
    'Bytes of frames of one client that may be queued; a client that sends more is closed.',
  ),
  httpConnectionsMax: integer(4096, 1, 1_000_000, 'HTTP connections of one thread; further ones are closed at once.'),
  httpRequestsMax: integer(
    1024,
    1,
    1_000_000,
    'HTTP requests in flight on one thread; further ones are refused with `busy`.',
  ),
  httpHeadBytesMax: integer(16_384, 1024, 1_048_576, "Bytes of an HTTP request's head: its target and its headers."),
  httpHeadersMax: integer(100, 8, 10_000, 'Headers of an HTTP request.'),
  httpHeadTimeoutMs: integer(
    10_000,
    100,
    10 * minute,
    "Time limit for an HTTP request's head, from the start of the connection or its first byte.",
  ),
  httpRequestTimeoutMs: integer(12_000, 100, 60 * minute, 'Time limit for the whole request.'),
  httpIdleTimeoutMs: integer(10_000, 100, 60 * minute, 'An idle HTTP connection is closed after this time.'),
  httpBodyBytesInFlightMax: integer(
    64 * 1_048_576,
    1024,
    16 * 2 ** 30,
    'Bytes of the bodies of HTTP requests in flight on one thread; a single body may exceed it. A chunked one counts as `bodyBytesMax`.',
  ),
  httpWaitMaxMs: integer(5 * minute, 100, 60 * minute, 'The longest time that an HTTP request waits for a change.'),
  httpWaitersMax: integer(
    2048,
    0,
    1_000_000,
    'HTTP callers of one thread that wait for changes or watch; further ones are refused with `busy`.',
  ),
  bodyBytesMax: integer(1_048_576, 1024, 64 * 1_048_576, 'Bytes of one HTTP body.'),
  httpAnswerBytesMax: integer(
    16 * 1_048_576,
    1024,
    16 * 2 ** 30,
    'Bytes of HTTP answers that wait in one thread to be read by clients; a single answer may be larger. Beyond it further requests are refused.',
  ),
  httpAnswerTimeoutMs: integer(
    minute,
    100,
    60 * minute,
    'How long an HTTP client has to read its answer; one that reads nothing for `slowConsumerTimeoutMs` is dropped before that.',
  ),
  batchEntriesMax: integer(1000, 1, 100_000, 'Requests in one batch.'),
  batchAnswerCharactersMax: integer(
    8 * 1_048_576,
    1024,
    256 * 1_048_576,
    'Characters of all answers of one batch together; answers that do not fit are replaced by errors.',
  ),
  requestsInFlightMax: integer(4096, 1, 1_000_000, 'Requests of one session in flight.'),
  registrationsMax: integer(10_000, 1, 10_000_000, 'Instances registered by one session.'),
  subscriptionsMax: integer(10_000, 1, 10_000_000, 'Services that one session has subscribed to.'),
  threadSubscriptionsMax: integer(2_000_000, 1, 100_000_000, 'Subscriptions of the sessions of one thread together.'),
  watchedServicesMax: integer(
    100_000,
    1,
    10_000_000,
    'Distinct subscriptions (service, filter, mode) of the sessions of one thread.',
  ),
  watchedNameBytesMax: integer(
    16 * 1_048_576,
    1024,
    16 * 2 ** 30,
    'Bytes of the names of those services; the name that reaches the bound may exceed it.',
  ),
  keyWatchesMax: integer(1000, 1, 1_000_000, 'Keys and prefixes that one session watches.'),
  threadKeyWatchesMax: integer(
    1_000_000,
    1,
    100_000_000,
    'Watches of keys and prefixes of the sessions of one thread together; see also `storeWatchesMax`.',
  ),
  mailboxRequestsMax: integer(65_536, 1, 10_000_000, 'Requests in flight to one partition.'),
  sessionShareRequests: integer(
    16,
    1,
    1_000_000,
    'Requests that one session may have in flight while a partition has more than half of `mailboxRequestsMax`, so that light users stay served.',
  ),
  sessionBacklogBytesMax: integer(
    1_048_576,
    1024,
    1024 * 1_048_576,
    'Bytes buffered in the process for one client; beyond it pushes are dropped until it has read them, and an answer that does not fit closes it.',
  ),
  sessionUnconsumedBytesMax: integer(
    524_288,
    1024,
    256 * 1_048_576,
    'Bytes sent to one client and not yet read by it, in the process or in a kernel; beyond it pushes are dropped until it has read them.',
  ),
  slowConsumerTimeoutMs: integer(
    10_000,
    100,
    10 * minute,
    'Close a client over `sessionUnconsumedBytesMax` that has read nothing for this long.',
  ),
  slowConsumerBytesMax: integer(
    16 * 1_048_576,
    1024,
    512 * 1_048_576,
    'Close a client with this many bytes sent and not yet read, answers to its own requests included.',
  ),
  pushCharactersInFlightMax: integer(
    64 * 1_048_576,
    1024,
    1024 * 1_048_576,
    'Characters of pushes in flight from one partition to the sockets; beyond it changes keep being merged.',
  ),
  turnStepsMax: integer(
    1000,
    1,
    1_000_000,
    'Registrations removed with their sessions in one turn of a thread; notices to all sessions are paced by it, too.',
  ),
  answerCharactersInFlightMax: integer(
    32 * 1_048_576,
    1024,
    1024 * 1_048_576,
    'Characters of answers in flight from one partition to one session host; beyond it further requests of that host wait.',
  ),
  partitionTurnWorkMax: integer(
    4 * 1_048_576,
    1024,
    1024 * 1_048_576,
    'Work of a partition in one turn, in characters read and written, before it raises its heartbeat and reads its mailboxes again; a single record may exceed it.',
  ),
  fanOutSliceMembers: integer(512, 1, 1_000_000, 'Sends in one slice of a fan-out; other work runs between slices.'),
  fanOutSliceBytes: integer(
    1_048_576,
    1024,
    1_073_741_824,
    'Bytes of pushes and large answers sent in one slice; a single frame may exceed it.',
  ),
  changeLogEntriesMax: integer(
    1024,
    2,
    1_000_000,
    'Changes kept in the change log of a subscribed service, across which a client can resume.',
  ),
  filtersPerServiceMax: integer(
    64,
    0,
    10_000,
    'Distinct filters of one service, per mode; each is maintained and encoded separately.',
  ),
  instancesPerServiceMax: integer(100_000, 1, 10_000_000, 'Instances of one service.'),
  claimsPerInstanceMax: integer(
    64,
    1,
    1024,
    'Sessions and leases that have registered one instance; beyond it the oldest claim is dropped.',
  ),
  instancesPerPartitionMax: integer(
    4_000_000,
    1,
    100_000_000,
    'Instances of one partition, counted once for each session that has registered them.',
  ),
  keysPerPartitionMax: integer(1_000_000, 1, 100_000_000, 'Keys of one partition.'),
  keyBytesPerPartitionMax: integer(
    512 * 1_048_576,
    1024,
    16 * 2 ** 30,
    "Bytes that one partition's keys take in memory: their names, their values in base64, and 200 for each. They are in the thread's heap, which `partitionHeapMaxMb` limits.",
  ),
  keyRequestsWaitingMax: integer(
    4096,
    1,
    1_000_000,
    'Requests of one partition that wait for others on the same keys, for the store, or for keys to be loaded; further ones are refused with `busy`.',
  ),
  instanceBytesMax: integer(
    4 * 2 ** 30,
    1024,
    16 * 2 ** 30,
    'Bytes allocated for instances by one partition, and by the sessions of one thread.',
  ),
  serviceListBytesMax: integer(
    32 * 1_048_576,
    1024,
    128 * 1_048_576,
    'Bytes of the list of one service; a registration that would exceed it is refused.',
  ),
};

export const settingNames: readonly SettingName[] = Object.keys(settings) as SettingName[];

/** Whether the ports speak TLS. */
export function usesTls({ tlsCert }: Pick<ServerConfig, 'tlsCert'>): boolean {
  return tlsCert !== '';
}
