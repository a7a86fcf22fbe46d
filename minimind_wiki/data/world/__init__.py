"""The little world: a village whose every truth is known, for every stage of training."""

from minimind_wiki.data.world.story import Document, all_derivations, make_document

__all__ = ["Document", "all_derivations", "make_document"]
