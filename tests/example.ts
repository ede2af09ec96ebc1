// Something is missing here. Try: quatrain complete tests/example.ts:8:10
interface Point {
  x: number;
  y: number;
}

export function distance(a: Point, b: Point): number {
  return 
}

export function perimeter(points: Point[]): number {
  let sum = 0;
  for (let i = 0; i < points.length; i++) {

  }
  return sum;
}
