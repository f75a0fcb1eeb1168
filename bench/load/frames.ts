/** Frames are also what the suite for users is made of, so they ship with the package. */
export { buildPongFrame, buildTextFrame, buildUpgradeRequest, closeFrame, readFrames } from '../../src/bench/frames.ts';
export type { FrameHandlers } from '../../src/bench/frames.ts';
