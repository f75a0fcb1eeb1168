import type { SlotTable } from '../slots/slot-table.ts';
import type { HostBatch, PartitionBatch } from './messages.ts';

/** A host's end of a mailbox: what a link needs of a MessagePort. */
export interface MailboxPort {
  on(event: 'message', take: (batch: PartitionBatch) => void): unknown;
  /** The other end is gone, and everything that it posted has been taken. */
  on(event: 'close', take: () => void): unknown;
  postMessage(batch: HostBatch): void;
  close(): void;
}

/** What runs one partition: a thread, or in simulations its pure core. */
export interface Runner {
  start(table: SlotTable, versionFloor: number): Promise<void>;
  connect(host: number): MailboxPort;
  /** The host's thread has died: its mailbox is no more, and what was in flight in it is forgotten. It may be connected again. */
  detach(host: number): void;
  /** Rises while it lives. */
  readPulse(): number | undefined;
  kill(reason: string): void;
  stop(): Promise<void>;
}
