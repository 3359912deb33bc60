import type { Page } from "playwright-core";

/** An element that holds text, and the contrast of that text with what lies behind it. */
export interface Contrast {
  readonly name: string;
  /** From 1 to 21, by the formula of WCAG 2.2. */
  readonly ratio: number;
}

/** Least contrast of body text that WCAG 2.2 calls enough (level AA). */
export const enoughContrast = 4.5;

/** Measures every element of the page that `selector` finds, in the colours that the browser computed. */
export function measureContrast(page: Page, selector: string): Promise<Contrast[]> {
  return page.evaluate((selector) => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const luminance = (color: string): number => {
      if (canvas === null) return 0;
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
      const [r = 0, g = 0, b = 0] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => {
        const share = value / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const groundOf = (element: Element | null): string => {
      if (element === null) return "white";
      const { backgroundColor } = getComputedStyle(element);
      const isClear = backgroundColor.endsWith(" 0)") || backgroundColor === "transparent";
      return isClear ? groundOf(element.parentElement) : backgroundColor;
    };
    return [...document.querySelectorAll(selector)].map((element) => {
      const pair = [luminance(getComputedStyle(element).color), luminance(groundOf(element))];
      return { name: element.className, ratio: (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05) };
    });
  }, selector);
}
