/** Numbers of a session: the host where it began, and which it is there. */
export const sessionsPerHostMax: number = 2 ** 40;

export function hostOfSession(session: number): number {
  return Math.floor(session / sessionsPerHostMax);
}
