"""LightningModules: a batch in, one output for each example out. They never see documents."""

from clinical_ie.modules.encoder_attribute_classifier import EncoderAttributeClassifier
from clinical_ie.modules.encoder_reader import EncoderReader
from clinical_ie.modules.encoder_relation_classifier import EncoderRelationClassifier
from clinical_ie.modules.encoder_tagger import EncoderTagger
from clinical_ie.modules.instruction_generator import InstructionGenerator

__all__ = ["EncoderAttributeClassifier", "EncoderReader", "EncoderRelationClassifier", "EncoderTagger", "InstructionGenerator"]
