// How long Faye's polls are held that would be answered sooner than pixied can say what is pending.
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';

import { BriefPolls } from '../src/faye/brief_polls';
import type { FayeConnection, FayeServer, PollOptions } from '../src/faye/server';
import { turn } from './scripted';

const HOLD_MS = 1_000;

describe('brief polls', () => {
  let connections: Map<string, FayeConnection>;
  /** What Faye was told of each poll. */
  let begun: (PollOptions | undefined)[];
  let flushed: string[];
  let asked: string[];
  let pending: number | Error;
  let now: number;
  let later: [call: () => void, milliseconds: number][];
  let polls: BriefPolls;

  beforeEach(() => {
    connections = new Map();
    [begun, flushed, asked, later, pending, now] = [[], [], [], [], 0, 0];
    const server: Partial<FayeServer> = {
      timeout: 45,
      connection: (clientId: string) => connections.get(clientId),
      flushConnection: (clientId) => void flushed.push(clientId),
    };
    const pendingOf = (clientId: string): Promise<number> => {
      asked.push(clientId);
      return pending instanceof Error ? Promise.reject(pending) : Promise.resolve(pending);
    };
    polls = new BriefPolls(
      server as FayeServer,
      pendingOf,
      () => now,
      (call, milliseconds) => void later.push([call, milliseconds]),
    );
  });

  function opens(clientId: string, socket: FayeConnection['socket'] = null): FayeConnection {
    const connection: FayeConnection = { socket, connect: (options) => void begun.push(options) };
    connections.set(clientId, connection);
    polls.opened(connection);
    return connection;
  }

  const poll = (connection: FayeConnection, options?: PollOptions): void => connection.connect!(options, () => undefined, {});

  async function attached(clientId: string): Promise<void> {
    polls.attached(clientId);
    await turn();
  }

  for (const timeout of [0, -1, Number.NaN, 'soon', null, {}, 1e300, Infinity]) {
    it(`with a timeout of ${String(timeout)} are held, and answered as soon as nothing is known to be pending`, async () => {
      poll(opens('ann'), { timeout });
      assert.deepEqual([begun, flushed], [[{ timeout: HOLD_MS }], []]);
      await attached('ann');
      assert.deepEqual([asked, flushed, later], [['ann'], ['ann'], []]);
    });
  }

  it('wait as long as they want to', async () => {
    poll(opens('ann'), { timeout: 50 });
    now = 20;
    await attached('ann');
    assert.deepEqual([flushed, later.map(([, rest]) => rest)], [[], [30]]);
    later[0]![0]();
    assert.deepEqual(flushed, ['ann']);
  });

  it('wait for what is pending, and no longer than the hold where it is not known', async () => {
    pending = 3;
    poll(opens('ann'), { timeout: 0 });
    await attached('ann');
    pending = new Error('away');
    poll(opens('bob'), { timeout: 0 });
    await attached('bob');
    assert.deepEqual([asked, flushed, later], [['ann', 'bob'], [], []]);
  });

  it('are others than those that wait for longer, by themselves or by the server', async () => {
    for (const options of [{ timeout: HOLD_MS }, { timeout: '30000' }, {}, undefined]) poll(opens('ann'), options);
    assert.deepEqual(begun, [{ timeout: HOLD_MS }, { timeout: '30000' }, {}, undefined]);
    await attached('ann');
    await attached('nobody');
    assert.deepEqual([asked, flushed], [[], []]);
  });

  it('are no matter of sockets', async () => {
    poll(opens('ann', {}), { timeout: 0 });
    const connection = opens('bob');
    poll(connection, { timeout: 0 });
    Object.assign(connection, { socket: {} });
    await attached('ann');
    await attached('bob');
    assert.deepEqual([begun[0], flushed], [{ timeout: 0 }, []]);
  });

  it('that have been answered meanwhile are left alone', async () => {
    poll(opens('ann'), { timeout: 0 });
    const answered = attached('ann');
    opens('ann');
    await answered;
    assert.deepEqual(flushed, []);
  });
});
