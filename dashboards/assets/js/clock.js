// Time passes also while nothing happens: what shows an age is drawn again.
import {useEffect, useState} from 'teknav/vendor/preact.js';

/** Draw the component again every so many seconds. */
export function useSeconds(seconds) {
  const [, redraw] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => redraw((count) => count + 1), seconds * 1_000);
    return () => clearInterval(timer);
  }, [seconds]);
}
