// How much memory is held.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
/** What is collected in one turn may be all that held something else. */
const TURNS = 4;

/** How many bytes of the heap are in use when everything that nobody holds has been collected. */
export async function heldBytes(): Promise<number> {
  for (let i = 0; i < TURNS; i += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    collect();
  }
  return process.memoryUsage().heapUsed;
}
