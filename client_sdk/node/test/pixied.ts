// A real pixied in a process of its own, on a Unix socket in a folder of its own.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Admin } from '../src';

const PROGRAM = process.env['PIXIED_BIN'] ?? join(__dirname, '..', '..', '..', '.venv', 'bin', 'pixied');
const START_TIMEOUT_MS = 30_000;
/** So much of what it said last goes into the failure of a test whose pixied ended by itself. */
const LAST_WORDS = 2_000;

/** Those that run. They must not outlive the tests, however those end. */
const running = new Set<Pixied>();
process.on('exit', () => running.forEach((pixied) => pixied.abandon()));
for (const [signal, number] of Object.entries({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 })) {
  process.once(signal, () => process.exit(128 + number));
}

export class Pixied {
  private process: ChildProcess | undefined;

  private constructor(
    private readonly folder: string,
    private readonly flags: readonly string[],
  ) {}

  /** Starts one and waits until it serves. */
  static async start(...flags: string[]): Promise<Pixied> {
    const pixied = await Pixied.prepare(...flags);
    await pixied.run();
    return pixied;
  }

  /** Chooses the address of one that does not run yet. */
  static async prepare(...flags: string[]): Promise<Pixied> {
    return new Pixied(await mkdtemp(join(tmpdir(), 'pixied-node-')), flags);
  }

  get address(): string {
    return `unix://${this.folder}/socket`;
  }

  async run(): Promise<void> {
    const child = spawn(PROGRAM, ['serve', '--listen', this.address, ...this.flags], {
      env: surroundings(),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.process = child;
    running.add(this);
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-LAST_WORDS)));
    const ended = once(child, 'close').then(([code]) => {
      throw new Error(`pixied ended with ${String(code)}: ${said}`);
    });
    const admin = new Admin(this.address);
    try {
      await Promise.race([admin.getInfo({ timeoutMs: START_TIMEOUT_MS }), ended]);
    } finally {
      admin.close();
      // From now on its end is the test's own doing.
      ended.catch(() => undefined);
    }
  }

  /** Ends it as an operator would. */
  async terminate(): Promise<void> {
    await this.end('SIGTERM');
  }

  /** Ends it as a power cut would. */
  async kill(): Promise<void> {
    await this.end('SIGKILL');
  }

  /** Ends it and removes its folder. */
  async dispose(): Promise<void> {
    await this.kill();
    running.delete(this);
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Ends it and removes its folder, in the last moment of this process. */
  abandon(): void {
    this.process?.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }

  private async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.process;
    this.process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }
}

/** The environment without the settings of a pixied: whoever runs the tests may have some, and PIXIED_BIN is none. */
function surroundings(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PIXIED_')));
}
