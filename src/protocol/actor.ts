/** Who asks for a change, and from where. It goes with the call to wherever that is carried out. */
export interface Actor {
  /** Who that is. */
  readonly principal: string;
  /** Of the caller; empty: the server itself. */
  readonly address: string;
  /** The name of the session, or of the lease, that the call belongs to. */
  readonly session?: string;
  /** By which the caller finds its request again, as it gave it. */
  readonly request?: string;
}

/** Of callers who have not said who they are. */
export const anonymous = 'anonymous';

/** What the server does by itself. */
export const serverActor: Actor = { principal: 'server', address: '' };
