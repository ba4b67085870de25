// Streams that come back when they break.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';

import { connectivityState, Metadata, status as Code } from '@grpc/grpc-js';

import { RetryInfo } from '../generated/google/rpc/error_details';
import { Status } from '../generated/google/rpc/status';
import { EventKind, type Event, type WatchResponse } from '../generated/pixied/v1/watch';
import { KeptStream, type Call } from '../src/kept_stream';
import { KeptWatch } from '../src/kept_watch';
import { ScriptedCall, ScriptedConnection, turn } from './scripted';

const A_MINUTE = 60_000;

describe('a kept stream', () => {
  let scripted: ScriptedConnection;
  let now: number;
  /** What its listener received: `opened`, what was received, and why it was lost. */
  let news: unknown[];
  let stream: KeptStream<string, Call<string>>;

  beforeEach(async () => {
    now = 1_000;
    mock.timers.enable({ apis: ['setTimeout'] });
    mock.method(performance, 'now', () => now);
    // The longest of the pauses that chance may choose.
    mock.method(Math, 'random', () => 1);
    scripted = new ScriptedConnection();
    news = [];
    stream = new KeptStream<string, Call<string>>(
      scripted.connection,
      'Attach',
      () => (scripted.connection.client as never as { makeBidiStreamRequest(): ScriptedCall }).makeBidiStreamRequest(),
      {
        opened: () => void news.push('opened'),
        received: (response) => void news.push(response),
        lost: ({ message }) => void news.push(message),
      },
    );
    stream.start();
    await turn();
  });
  afterEach(() => mock.reset());

  async function pass(milliseconds: number): Promise<void> {
    now += milliseconds;
    mock.timers.tick(milliseconds);
    await turn();
  }

  /** Checks that it comes back after this many milliseconds, and no sooner. */
  async function comesBackAfter(milliseconds: number): Promise<void> {
    const { length } = scripted.calls;
    await pass(milliseconds - 1);
    assert.equal(scripted.calls.length, length, 'it is back too soon');
    await pass(1);
    assert.equal(scripted.calls.length, length + 1, 'it is not back');
  }

  /** Breaks it with a status that asks for a delay. */
  function breakFor(delayMs: number): void {
    const retry = RetryInfo.encode({ retryDelay: { seconds: 0, nanos: delayMs * 1e6 } }).finish();
    const details = [{ typeUrl: 'type.googleapis.com/google.rpc.RetryInfo', value: retry }];
    const metadata = new Metadata();
    const status = Status.encode({ code: Code.UNAVAILABLE, message: 'away', details }).finish();
    metadata.set('grpc-status-details-bin', Buffer.from(status));
    scripted.call.emit('error', { code: Code.UNAVAILABLE, details: 'away', metadata });
    scripted.call.emit('end');
  }

  it('hands on what is received, the last of a broken stream included', () => {
    const { call } = scripted;
    call.emit('data', 'first');
    call.emit('error', { code: Code.INTERNAL, details: 'a defect' });
    call.emit('data', 'last');
    call.emit('end');
    assert.deepEqual(news, ['opened', 'first', 'last', 'Attach: a defect']);
  });

  it('says where it was when it breaks or ends', async () => {
    scripted.call.break(Code.UNAVAILABLE, 'it broke');
    await pass(A_MINUTE);
    scripted.call.emit('end');
    assert.deepEqual(news, [
      'opened',
      'pixied at nowhere:1 cannot be reached: it broke',
      'opened',
      'pixied at nowhere:1 cannot be reached: the server has ended the stream',
    ]);
  });

  it('comes back after pauses that double, up to 5 s', async () => {
    for (const pause of [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]) {
      scripted.call.break(Code.UNAVAILABLE);
      await comesBackAfter(pause);
    }
  });

  it('begins with a short pause again once the server has shown that it serves it', async () => {
    for (const pause of [100, 200]) {
      scripted.call.break(Code.UNAVAILABLE);
      await comesBackAfter(pause);
    }
    stream.healthy();
    scripted.call.break(Code.UNAVAILABLE);
    await comesBackAfter(100);
  });

  it('begins with a short pause again when it has stood for 5 s without a word', async () => {
    for (const [life, pause] of [
      [0, 100],
      [4_999, 200],
      [5_000, 100],
      [0, 200],
    ] as const) {
      await pass(life);
      scripted.call.break(Code.UNAVAILABLE);
      await comesBackAfter(pause);
    }
  });

  it('comes back no sooner than a refusal asks, and not with all others', async () => {
    breakFor(500);
    await comesBackAfter(600);
  });

  it('comes back when a stopping server has asked for it, once', async () => {
    stream.returnAfter(700);
    await pass(100);
    scripted.call.break(Code.UNAVAILABLE);
    await comesBackAfter(600);
    scripted.call.break(Code.UNAVAILABLE);
    await comesBackAfter(100);
  });

  it('comes back at once where the time that a stopping server asked for has passed', async () => {
    stream.returnAfter(700);
    await pass(800);
    const timers = mock.method(globalThis, 'setTimeout');
    scripted.call.emit('end');
    assert.equal(timers.mock.calls[0]?.arguments[1], 0);
  });

  it('does not listen to a stream that it has given up', async () => {
    const { call } = scripted;
    stream.abandon('it is silent');
    assert.equal(call.isCancelled, true);
    call.emit('data', 'too late');
    call.break(Code.CANCELLED);
    stream.abandon('it is silent');
    assert.deepEqual(news, ['opened', 'pixied at nowhere:1 cannot be reached: it is silent']);
    await pass(100);
    call.emit('data', 'too late');
    call.emit('end');
    scripted.call.emit('data', 'hello');
    assert.deepEqual(news.slice(2), ['opened', 'hello']);
  });

  it('asks for a connection until one stands, and says when an attempt fails', async () => {
    scripted.become(connectivityState.TRANSIENT_FAILURE);
    scripted.call.break(Code.UNAVAILABLE, 'it broke');
    await pass(A_MINUTE);
    const attempts = scripted.attempts;
    for (const state of ['CONNECTING', 'TRANSIENT_FAILURE', 'IDLE'] as const) scripted.become(connectivityState[state]);
    assert.equal(scripted.attempts, attempts + 3);
    scripted.become(connectivityState.READY);
    await turn();
    const nothing = 'pixied at nowhere:1 cannot be reached: nothing answers there';
    assert.deepEqual(news, ['opened', 'pixied at nowhere:1 cannot be reached: it broke', nothing, nothing, 'opened']);
  });

  it('is not opened again once it is closed, and says nothing of that', async () => {
    const { call } = scripted;
    stream.close();
    assert.equal(call.isCancelled, true);
    call.break(Code.CANCELLED);
    stream.close();
    await pass(A_MINUTE);
    assert.deepEqual([news, scripted.calls.length], [['opened'], 1]);
  });

  it('does not come back from a pause once it is closed', async () => {
    scripted.call.break(Code.UNAVAILABLE, 'it broke');
    const { attempts } = scripted;
    stream.close();
    await pass(A_MINUTE);
    assert.deepEqual([news.length, scripted.attempts, scripted.calls.length], [2, attempts, 1]);
  });

  it('is not opened by a connection that comes to stand too late', async () => {
    scripted.become(connectivityState.CONNECTING);
    scripted.call.break(Code.UNAVAILABLE, 'it broke');
    await pass(A_MINUTE);
    stream.close();
    scripted.become(connectivityState.TRANSIENT_FAILURE);
    scripted.become(connectivityState.READY);
    await turn();
    assert.deepEqual([news.length, scripted.calls.length], [2, 1]);
  });

  it('takes leave when the server has ended it, and does not come back', async () => {
    let hasLeft = false;
    const farewell = stream.farewell().then(() => (hasLeft = true));
    await turn();
    scripted.call.emit('data', 'the last');
    assert.equal(hasLeft, false);
    scripted.call.emit('end');
    await farewell;
    await pass(A_MINUTE);
    assert.deepEqual([news, scripted.calls.length], [['opened', 'the last'], 1]);
    await stream.farewell();
  });
});

describe('a kept watch', () => {
  let scripted: ScriptedConnection;
  let watch: KeptWatch;
  let news: string[];

  const answer = (response: Partial<WatchResponse>): void =>
    void scripted.call.emit('data', { events: [], missed: 0, closing: undefined, ...response });
  const about = (clientId: string): Event => ({ clientId }) as Event;

  beforeEach(() => {
    mock.timers.enable({ apis: ['setTimeout'] });
    mock.method(Math, 'random', () => 1);
    scripted = new ScriptedConnection();
    news = [];
  });
  afterEach(() => {
    watch.close();
    mock.reset();
  });

  function begin(): void {
    watch = new KeptWatch(scripted.connection, [EventKind.SUBSCRIBED], {
      happened: ({ clientId }) => void news.push(clientId),
      uncertain: () => void news.push('uncertain'),
    });
  }

  async function pass(milliseconds: number): Promise<void> {
    mock.timers.tick(milliseconds);
    await turn();
  }

  it('asks for events of its kinds, whatever their channel and client', async () => {
    begin();
    await pass(0);
    assert.deepEqual(scripted.call.request, { kinds: [EventKind.SUBSCRIBED], channelPattern: '', clientId: '' });
  });

  it('is uncertain at the beginning of each stream, and when events were missed', async () => {
    begin();
    await pass(0);
    answer({});
    answer({ events: [about('a'), about('b')] });
    answer({ events: [about('c')], missed: 1 });
    scripted.call.break(Code.UNAVAILABLE);
    await pass(A_MINUTE);
    answer({ events: [about('d')] });
    answer({ events: [about('e')] });
    assert.deepEqual(news, ['uncertain', 'a', 'b', 'uncertain', 'c', 'uncertain', 'd', 'e']);
  });

  it('comes back soon after a stream that served, and when a stopping server has asked for it', async () => {
    begin();
    await pass(0);
    for (let round = 1; round <= 3; round += 1) {
      answer({});
      scripted.call.break(Code.UNAVAILABLE);
      await pass(100);
      assert.equal(scripted.calls.length, round + 1);
    }
    answer({ closing: { reconnectAfterMs: 10_000 } as never });
    scripted.call.emit('end');
    await pass(9_000);
    assert.equal(scripted.calls.length, 4);
    await pass(1_000);
    assert.equal(scripted.calls.length, 5);
  });

  it('has come out when it is answered, when it fails, and when it is closed', async () => {
    const { CONNECTING, READY, TRANSIENT_FAILURE } = connectivityState;
    for (const [state, end] of [
      [READY, () => answer({})],
      [CONNECTING, () => scripted.become(TRANSIENT_FAILURE)],
      [CONNECTING, () => watch.close()],
    ] as const) {
      scripted = new ScriptedConnection();
      scripted.become(state);
      begin();
      let hasComeOut = false;
      void watch.attempt.then(() => (hasComeOut = true));
      await pass(0);
      assert.equal(hasComeOut, false);
      end();
      await pass(0);
      assert.equal(hasComeOut, true);
      watch.close();
    }
  });
});
