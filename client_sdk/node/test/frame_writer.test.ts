// How what waits is put into frames.
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';

import type { ClientDuplexStream } from '@grpc/grpc-js';

import { encodeFrame, FrameWriter, type FrameItem } from '../src/frame_writer';
import { ScriptedCall, turn } from './scripted';

const item = (length: number): FrameItem => ({ bytes: new Uint8Array(length) });
/** How long each item of each frame is. */
const lengths = ({ frames }: ScriptedCall): number[][] => frames.map((frame) => frame.map(({ bytes }) => bytes.length));
/** More frames than any of these tests needs. */
const MANY = 100;

describe('a frame writer', () => {
  let call: ScriptedCall;
  let writer: FrameWriter<FrameItem>;
  const writeTo = (other: ScriptedCall): void =>
    writer.writeTo(other as unknown as ClientDuplexStream<readonly FrameItem[], unknown>);

  beforeEach(() => {
    call = new ScriptedCall();
    writer = new FrameWriter();
  });

  /** Lets everything that waits go out. */
  async function drain(): Promise<void> {
    let frames = -1;
    while (frames !== call.frames.length) {
      frames = call.frames.length;
      assert(frames <= MANY, 'frames are written without end');
      await turn();
      call.flush();
    }
  }

  it('puts what collects in one turn, or while a frame goes out, into one frame', async () => {
    writeTo(call);
    writer.push(item(1));
    writer.push(item(2));
    await turn();
    writer.push(item(3));
    await turn();
    writer.push(item(4));
    await turn();
    assert.deepEqual([lengths(call), writer.size], [[[1, 2]], 2]);
    call.flush();
    assert.deepEqual([lengths(call), writer.size], [[[1, 2], [3, 4]], 0]);
  });

  it('writes no empty frames', async () => {
    writeTo(call);
    await drain();
    writer.pushFirst([]);
    const withdrawn = item(1);
    writer.push(withdrawn);
    writer.withdraw(withdrawn);
    await drain();
    assert.deepEqual(call.frames, []);
    writer.push(item(2));
    await drain();
    assert.deepEqual(lengths(call), [[2]]);
  });

  it('keeps to the number of items that a frame may have', async () => {
    writer.maxItems = 2;
    for (const length of [1, 2, 3, 4, 5]) writer.push(item(length));
    writeTo(call);
    await drain();
    assert.deepEqual(lengths(call), [[1, 2], [3, 4], [5]]);
  });

  it('splits frames at a million bytes, however small the items', async () => {
    writer.maxItems = Infinity;
    const count = 110_000;
    for (let i = 0; i < count; i += 1) writer.push(item(8));
    writeTo(call);
    await drain();
    assert.equal(call.frames.flat().length, count);
    assert(call.frames.every((frame) => encodeFrame(frame).length <= 1_000_000));
  });

  it('lets an item that is larger than a frame go alone', async () => {
    for (const length of [1, 2_000_000, 2]) writer.push(item(length));
    writeTo(call);
    await drain();
    assert.deepEqual(lengths(call), [[1], [2_000_000], [2]]);
  });

  it('waits without a stream, and begins with what is put first', async () => {
    writer.push(item(3));
    writer.pushFirst([item(1), item(2)]);
    await turn();
    writeTo(call);
    await drain();
    assert.deepEqual(lengths(call), [[1, 2, 3]]);
  });

  it('says what goes out just before it does', async () => {
    const steps: unknown[] = [];
    writer = new FrameWriter((items) => steps.push(items.length, call.frames.length));
    writeTo(call);
    writer.push(item(1));
    await turn();
    assert.deepEqual([steps, call.frames.length], [[1, 0], 1]);
  });

  it('writes nothing to a stream that it has left, and all that waits to the next one', async () => {
    writeTo(call);
    writer.push(item(1));
    await turn();
    writer.push(item(2));
    writer.stop();
    const next = new ScriptedCall();
    writeTo(next);
    await turn();
    writer.push(item(3));
    // The old stream goes on to say that its frame has gone out; the new one has not said so.
    call.flush();
    await turn();
    assert.deepEqual([lengths(call), lengths(next)], [[[1]], [[2]]]);
    next.flush();
    assert.deepEqual(lengths(next), [[2], [3]]);
  });

  it('keeps what was about to be written when the stream is left', async () => {
    writeTo(call);
    writer.push(item(1));
    writer.stop();
    await turn();
    assert.deepEqual([call.frames, writer.size], [[], 1]);
    assert.deepEqual(writer.drain().map(({ bytes }) => bytes.length), [1]);
    assert.equal(writer.size, 0);
  });

  it('is idle when everything has gone out', async () => {
    await writer.idle();
    writeTo(call);
    await writer.idle();
    writer.push(item(1));
    let isIdle = false;
    const idle = writer.idle().then(() => (isIdle = true));
    await turn();
    writer.push(item(2));
    await turn();
    call.flush();
    await turn();
    assert.deepEqual([isIdle, lengths(call)], [false, [[1], [2]]]);
    call.flush();
    await idle;
    await writer.idle();
  });

  it('is idle when the stream has gone', async () => {
    writer.push(item(1));
    await writer.idle();
    writeTo(call);
    const idle = writer.idle();
    writer.stop();
    await idle;
  });

  it('hangs up once', async () => {
    writer.hangUp();
    writeTo(call);
    writer.hangUp();
    assert.equal(call.isEnded, true);
    writer.push(item(1));
    await turn();
    assert.deepEqual(call.frames, []);
  });
});
