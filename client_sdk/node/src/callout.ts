// Calls into the program that uses this package.

/**
 * Calls the program. What it throws is an uncaught exception, as with any event listener, but only once this
 * package has finished what it was doing: otherwise what is left of a frame would never be handled, nor confirmed.
 */
export function callOut(call: () => void): void {
  try {
    call();
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
  }
}
