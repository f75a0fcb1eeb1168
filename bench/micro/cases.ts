import { mailboxCases } from './mailbox-cases.ts';
import type { MicroCase } from './micro-case.ts';
import { partitionCases } from './partition-cases.ts';
import { requestCases } from './request-cases.ts';
import { slotCases } from './slot-cases.ts';

export type CaseName =
  | keyof typeof slotCases
  | keyof typeof requestCases
  | keyof typeof mailboxCases
  | keyof typeof partitionCases;

/** Every function that is measured on its own, in the order of a registration's way through the registry. */
export const cases: Readonly<Record<CaseName, () => MicroCase | Promise<MicroCase>>> = {
  ...slotCases,
  ...requestCases,
  ...mailboxCases,
  ...partitionCases,
};

export const caseNames: readonly CaseName[] = Object.keys(cases) as CaseName[];
