// Protobuf's durations and timestamps, and JavaScript's.
import type { Duration } from '../generated/google/protobuf/duration';
import type { Timestamp } from '../generated/google/protobuf/timestamp';

/** A duration of so many milliseconds. */
export function durationOf(milliseconds: number): Duration {
  const seconds = Math.trunc(milliseconds / 1000);
  return { seconds, nanos: Math.round((milliseconds - seconds * 1000) * 1e6) };
}

/** How many milliseconds a duration lasts. */
export function millisecondsOf(duration: Duration): number {
  return duration.seconds * 1000 + duration.nanos / 1e6;
}

/** The moment that a timestamp names, to the millisecond. */
export function dateOf(timestamp: Timestamp): Date {
  return new Date(timestamp.seconds * 1000 + Math.floor(timestamp.nanos / 1e6));
}
