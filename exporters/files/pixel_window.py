"""A rectangle of pixels of a raster, which may reach beyond the raster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PixelWindow:
    """Columns from `column`, rows from `row`: `width` by `height` pixels, any of which may lie outside the raster."""

    column: int
    row: int
    width: int
    height: int

    @property
    def pixels(self) -> int:
        """How many pixels it has; 0 for an empty one."""
        return max(0, self.width) * max(0, self.height)

    def within(self, shape_yx: tuple[int, int]) -> PixelWindow:
        """The part inside a raster of `shape_yx`; without pixels if there is none."""
        height, width = shape_yx
        left, top = max(0, self.column), max(0, self.row)
        right, bottom = min(width, self.column + self.width), min(height, self.row + self.height)
        return PixelWindow(left, top, right - left, bottom - top)

    def moved(self, columns: int, rows: int) -> PixelWindow:
        """The same rectangle so many columns further right and rows further down."""
        return PixelWindow(self.column + columns, self.row + rows, self.width, self.height)

    def part(self, inner: PixelWindow) -> tuple[slice, slice]:
        """Where `inner` lies in an array (height, width) of this window."""
        top, left = inner.row - self.row, inner.column - self.column
        return slice(top, top + inner.height), slice(left, left + inner.width)
