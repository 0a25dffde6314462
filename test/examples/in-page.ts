/**
 * Functions that tests run inside the demo's page (`page.evaluate`): each stands alone, as it goes there as text. The
 * types below are what they use of the DOM; TypeScript's own would get in the way of Node's in every other file.
 */

interface PageElement {
  readonly id: string;
  readonly className: string;
  readonly tagName: string;
  readonly textContent: string | null;
  readonly childNodes: Iterable<{ nodeType: number; textContent: string | null }>;
  readonly parentElement: PageElement | null;
  readonly offsetParent: unknown;
  matches(selector: string): boolean;
  getBoundingClientRect(): { right: number };
}

interface Canvas {
  fillStyle: string;
  clearRect(x: number, y: number, width: number, height: number): void;
  fillRect(x: number, y: number, width: number, height: number): void;
  getImageData(x: number, y: number, width: number, height: number): { data: Iterable<number> };
}

declare const document: {
  readonly body: { hasAttribute(name: string): boolean };
  readonly documentElement: { clientWidth: number; scrollWidth: number };
  readonly activeElement: PageElement | null;
  querySelectorAll(selector: string): Iterable<PageElement>;
  dispatchEvent(event: Event): boolean;
  createElement(name: "canvas"): { getContext(kind: "2d", options: { willReadFrequently: boolean }): Canvas | null };
};
declare function getComputedStyle(element: PageElement): { backgroundColor: string; color: string; fontSize: string };

/** Whether the page waits for nothing. */
export function isSettled(): boolean {
  return !document.body.hasAttribute("aria-busy");
}

/** How wide the page is, what sticks out included. */
export function pageWidth(): number {
  return document.documentElement.scrollWidth;
}

/** What sticks out of the window on the right. */
export function tooWide(): string[] {
  return [...document.querySelectorAll("body *")]
    .filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
    .map((element) => `${element.tagName} ${element.id}`);
}

/** What has the focus: its id, or its class. */
export function focused(): string {
  return document.activeElement?.id || document.activeElement?.className || "";
}

/** The page is told that its tab was come back to. */
export function comeBack(): void {
  document.dispatchEvent(new Event("visibilitychange"));
}

/** Each text whose contrast with what is behind it is below WCAG's 4.5 : 1 (3 : 1 for large ones). */
export function lowContrast(): string[] {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  if (canvas === null) return ["no canvas"];
  /** The lightness that colours laid on each other come to. */
  const luminanceOf = (colors: string[]): number => {
    canvas.clearRect(0, 0, 1, 1);
    for (const color of colors) {
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
    }
    const [red = 0, green = 0, blue = 0] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const found: string[] = [];
  for (const element of document.querySelectorAll("body *")) {
    const hasText = [...element.childNodes].some(({ nodeType, textContent }) => nodeType === 3 && textContent?.trim());
    if (!hasText || element.offsetParent === null || element.matches("script, style")) continue;
    const behind: string[] = [];
    for (let at: PageElement | null = element; at !== null; at = at.parentElement) {
      behind.unshift(getComputedStyle(at).backgroundColor);
    }
    const { color, fontSize } = getComputedStyle(element);
    const [back, front] = [luminanceOf(behind), luminanceOf([...behind, color])];
    const ratio = (Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05);
    if (ratio < (Number.parseFloat(fontSize) >= 24 ? 3 : 4.5)) {
      found.push(`${element.tagName} "${element.textContent}" ${ratio.toFixed(2)}`);
    }
  }
  return found;
}
