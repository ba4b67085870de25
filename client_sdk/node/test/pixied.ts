// A real pixied in a process of its own, on a Unix socket in a folder of its own.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Admin } from '../src';

const PROGRAM = process.env['PIXIED_BIN'] ?? join(__dirname, '..', '..', '..', '.venv', 'bin', 'pixied');
const START_TIMEOUT_MS = 30_000;

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
    const stderr = process.env['PIXIED_LOG'] ? 'inherit' : 'ignore';
    const child = spawn(PROGRAM, ['serve', '--listen', this.address, ...this.flags], {
      stdio: ['ignore', 'ignore', stderr],
    });
    this.process = child;
    const ended = once(child, 'exit').then(([code]) => {
      throw new Error(`pixied ended with ${String(code)}; PIXIED_LOG=1 shows why`);
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
    await rm(this.folder, { recursive: true, force: true });
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
