/** Frames are also what the suite for users is made of, so they ship with the package. */
export { buildPongFrame, buildTextFrame, buildUpgradeRequest, closeFrame, takeFrames } from '../../src/bench/frames.ts';
export type { FrameTakers } from '../../src/bench/frames.ts';
