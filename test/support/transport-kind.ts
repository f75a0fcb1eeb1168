import { chooseTransport } from '../../src/transport/choose-transport.ts';
import type { TransportKind } from '../../src/transport/choose-transport.ts';

/** What holds the sockets of a server that tests start, on this platform. */
export const transportKind: TransportKind = (await chooseTransport('auto')).kind;
