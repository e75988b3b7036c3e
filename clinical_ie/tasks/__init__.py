"""Documents to examples and outputs to documents, one class for each way of asking a model."""

from clinical_ie.tasks.attribute_classification import AttributeClassification
from clinical_ie.tasks.attribute_instruction import AttributeInstruction
from clinical_ie.tasks.entity_tagging import EntityTagging
from clinical_ie.tasks.instruction import EntityInstruction, JointInstruction, RelationInstruction
from clinical_ie.tasks.reading_comprehension import EntityReading, RelationReading
from clinical_ie.tasks.relation_classification import RelationClassification
from clinical_ie.tasks.task import Task

__all__ = [
    "AttributeClassification",
    "AttributeInstruction",
    "EntityInstruction",
    "EntityReading",
    "EntityTagging",
    "JointInstruction",
    "RelationClassification",
    "RelationInstruction",
    "RelationReading",
    "Task",
]
