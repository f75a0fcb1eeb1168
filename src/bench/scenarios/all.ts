import type { Scenario } from '../scenario.ts';
import { hotService, manyServices, steadyChurn } from './churns.ts';
import { registerStorm } from './register-storm.ts';

export const scenarios: readonly Scenario[] = [registerStorm, steadyChurn, hotService, manyServices];
