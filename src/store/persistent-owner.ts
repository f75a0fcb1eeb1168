/** Who has registered persistent instances: the number of no session, the same in every process. Claims of this owner are never dropped for lack of room. */
export const persistentOwner = 0;
